// The operations that exported files can have. Each may be registered once, and no more than the resolver has room for.
#pragma once

#include <set>
#include <string>

#include "tensorflow/lite/c/common.h"

namespace tflite {

struct MicroOpResolver {
  std::set<std::string> names;
};

#define OPERATION(name) \
  TfLiteStatus Add##name() { return names.insert(#name).second && names.size() <= tOpCount ? kTfLiteOk : kTfLiteError; }

template <unsigned int tOpCount>
struct MicroMutableOpResolver : MicroOpResolver {
  OPERATION(Add)
  OPERATION(ArgMax)
  OPERATION(BatchMatMul)
  OPERATION(Concatenation)
  OPERATION(Dequantize)
  OPERATION(Elu)
  OPERATION(Exp)
  OPERATION(FullyConnected)
  OPERATION(Gather)
  OPERATION(Log)
  OPERATION(Logistic)
  OPERATION(Maximum)
  OPERATION(Minimum)
  OPERATION(Mul)
  OPERATION(Pack)
  OPERATION(Quantize)
  OPERATION(Relu)
  OPERATION(Reshape)
  OPERATION(Softmax)
  OPERATION(Split)
  OPERATION(StridedSlice)
  OPERATION(Sub)
  OPERATION(Tanh)
};

}  // namespace tflite

// An interpreter that lets the process at the other end of standard input and output compute.
//
// It writes the size of its arena and the number of operations, reads the sizes of input and output and what the arena
// needs, and for each call writes the input and reads the output.
#pragma once

#include <stdio.h>

#include <vector>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver& resolver, uint8_t* arena, size_t arena_bytes)
      : arena_(arena), request_{arena_bytes, resolver.names.size()} {}

  TfLiteStatus AllocateTensors() {
    Write(request_, sizeof(request_));
    if (!Read(answer_, sizeof(answer_)) || reinterpret_cast<uintptr_t>(arena_) % 16 != 0) return kTfLiteError;
    Make(input_, input_values_, answer_[0]);
    Make(output_, output_values_, answer_[1]);
    return kTfLiteOk;
  }

  TfLiteStatus Invoke() {
    Write(input_values_.data(), input_.bytes);
    return Read(output_values_.data(), output_.bytes) ? kTfLiteOk : kTfLiteError;
  }

  TfLiteTensor* input(size_t) { return &input_; }
  TfLiteTensor* output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return answer_[2]; }

 private:
  static void Write(const void* bytes, size_t count) {
    fwrite(bytes, 1, count, stdout);
    fflush(stdout);
  }

  static bool Read(void* bytes, size_t count) { return fread(bytes, 1, count, stdin) == count; }

  static void Make(TfLiteTensor& tensor, std::vector<float>& values, size_t bytes) {
    values.resize(bytes / sizeof(float) + 1);
    tensor.bytes = bytes;
    tensor.data.f = values.data();
  }

  uint8_t* arena_;
  uint64_t request_[2];
  uint64_t answer_[3] = {};
  TfLiteTensor input_ = {}, output_ = {};
  std::vector<float> input_values_, output_values_;
};

}  // namespace tflite

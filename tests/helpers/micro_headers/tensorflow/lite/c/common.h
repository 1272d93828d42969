// The part of TensorFlow Lite's C types that exported programs use.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

union TfLitePtrUnion {
  int32_t* i32;
  float* f;
  int8_t* int8;
};

struct TfLiteTensor {
  TfLitePtrUnion data;
  size_t bytes;
};

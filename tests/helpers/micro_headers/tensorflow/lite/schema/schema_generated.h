// The part of a network's flatbuffer that exported programs use.
#pragma once

#include <stdint.h>
#include <string.h>

namespace tflite {

struct Model {
  const void* content;

  uint32_t version() const { return memcmp(static_cast<const char*>(content) + 4, "TFL3", 4) == 0 ? 3 : 0; }
};

inline const Model* GetModel(const void* content) {
  static Model model;
  model.content = content;
  return &model;
}

}  // namespace tflite

// A hash that is the same in every build and on every node, which absl::Hash is not.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace fairlead {

// FNV-1a, 64 bits. Short texts differ in its low bits only.
inline uint64_t Fnv1a(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace fairlead

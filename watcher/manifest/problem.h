// What is wrong with a manifest, said once and in one line.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace fairlead {

enum class Severity : uint8_t {
  kError,    // The object is left out, or stays at its last good version.
  kWarning,  // The object is used; what the message names is ignored.
};

// One thing that is wrong, with where to find it. A plain value.
struct Problem {
  Severity severity = Severity::kError;
  std::string file;    // As it was given, or below the folder that was given.
  int line = 0;        // From 1; 0: not known.
  std::string object;  // "Service shop/cart"; empty: the file as a whole.
  std::string field;   // "spec.ports[1].nodePort"; empty: the object as a whole.
  std::string message;

  // "shop.yaml:12: Service shop/cart: spec.ports[0].port: 70000 is not a port number (1 to 65535)".
  // Control characters of the input come out as '?', so that it stays one line.
  std::string Format() const;

  friend auto operator<=>(const Problem&, const Problem&) = default;
};

}  // namespace fairlead

#include "watcher/manifest/problem.h"

#include "absl/strings/str_cat.h"

namespace fairlead {

std::string Problem::Format() const {
  std::string text = file;
  if (line > 0) absl::StrAppend(&text, ":", line);
  for (const std::string* part : {&object, &field, &message}) {
    if (part->empty()) continue;
    absl::StrAppend(&text, text.empty() ? "" : ": ", *part);
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

}  // namespace fairlead

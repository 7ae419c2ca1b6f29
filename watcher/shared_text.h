// Text that many objects hold: each has a pointer to it.
#pragma once

#include <compare>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace fairlead {

// A text that does not change. A copy costs a pointer and counts; what is empty costs no memory
// besides. Like std::string otherwise: a value, compared and hashed as its characters. Copies may
// be used by several threads.
class SharedText {
 public:
  SharedText() = default;
  SharedText(absl::string_view text);  // NOLINT(google-explicit-constructor): as std::string.
  SharedText(const std::string& text) : SharedText(absl::string_view(text)) {}  // NOLINT
  SharedText(const char* text) : SharedText(absl::string_view(text)) {}         // NOLINT
  SharedText(const SharedText& other) noexcept;
  SharedText(SharedText&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedText& operator=(SharedText other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedText();

  // The same text for everybody who asks: for names of which there are few and that occur often,
  // as those of Nodes. Thread-safe.
  static SharedText Common(absl::string_view text);

  // Valid as long as a copy of this object is.
  absl::string_view view() const;
  operator absl::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  std::string str() const { return std::string(view()); }
  bool empty() const { return block_ == nullptr; }

  friend bool operator==(const SharedText& a, const SharedText& b) {
    return a.block_ == b.block_ || a.view() == b.view();
  }
  friend std::strong_ordering operator<=>(const SharedText& a, const SharedText& b) {
    return a.view().compare(b.view()) <=> 0;
  }
  friend std::ostream& operator<<(std::ostream& out, const SharedText& text);

  template <typename H>
  friend H AbslHashValue(H state, const SharedText& text) {
    return H::combine(std::move(state), text.view());
  }

 private:
  struct Block;

  // Whether nobody else has it.
  bool IsAlone() const;

  Block* block_ = nullptr;
};

}  // namespace fairlead

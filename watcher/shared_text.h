// Text that many objects hold: each has a pointer to it.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <type_traits>
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
  // as those of Nodes and namespaces. Thread-safe.
  static SharedText Common(absl::string_view text);

  // Valid as long as a copy of this object is.
  absl::string_view view() const {
    return block_ == nullptr ? absl::string_view()
                             : absl::string_view(block_->text(), block_->size);
  }
  operator absl::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  std::string str() const { return std::string(view()); }
  bool empty() const { return block_ == nullptr; }

  friend bool operator==(const SharedText& a, const SharedText& b) {
    return a.block_ == b.block_ || a.view() == b.view();
  }
  // With other texts, without a copy of them.
  template <typename Text>
  requires std::is_convertible_v<const Text&, absl::string_view>
  friend bool operator==(const SharedText& a, const Text& b) {
    return a.view() == absl::string_view(b);
  }
  friend std::strong_ordering operator<=>(const SharedText& a, const SharedText& b) {
    return a.block_ == b.block_ ? std::strong_ordering::equal : a.view().compare(b.view()) <=> 0;
  }
  friend std::ostream& operator<<(std::ostream& out, const SharedText& text);

  template <typename H>
  friend H AbslHashValue(H state, const SharedText& text) {
    return H::combine(std::move(state), text.view());
  }

 private:
  // The characters follow it in memory.
  struct Block {
    std::atomic<uint32_t> owners;
    uint32_t size;

    char* text() { return reinterpret_cast<char*>(this + 1); }
  };

  // Whether nobody else has it.
  bool IsAlone() const;

  Block* block_ = nullptr;
};

}  // namespace fairlead

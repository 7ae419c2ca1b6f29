// Parts of a value that are at their default as a rule.
#pragma once

#include <memory>
#include <utility>

namespace fairlead {

// A T that costs a pointer while it is T(). A value otherwise: copied, moved and compared as the T
// is. It is read like a pointer, and replaced as a whole.
template <typename T>
class Rare {
 public:
  Rare() = default;
  Rare(T value)  // NOLINT(google-explicit-constructor): stands in for a T.
      : value_(value == T() ? nullptr : std::make_unique<T>(std::move(value))) {}
  Rare(const Rare& other)
      : value_(other.value_ == nullptr ? nullptr : std::make_unique<T>(*other.value_)) {}
  Rare(Rare&& other) noexcept = default;
  Rare& operator=(Rare other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Rare() = default;

  // Valid until this object changes or goes.
  const T& operator*() const {
    static const T& usual = *new T();
    return value_ == nullptr ? usual : *value_;
  }
  const T* operator->() const { return &**this; }

  friend bool operator==(const Rare& a, const Rare& b) { return *a == *b; }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace fairlead

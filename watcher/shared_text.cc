#include "watcher/shared_text.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <ostream>

#include "absl/container/flat_hash_set.h"

namespace fairlead {

SharedText::SharedText(absl::string_view text) {
  if (text.empty()) return;
  void* memory = ::operator new(sizeof(Block) + text.size());
  block_ = new (memory) Block{{1}, static_cast<uint32_t>(text.size())};
  std::memcpy(block_->text(), text.data(), text.size());
}

SharedText::SharedText(const SharedText& other) noexcept : block_(other.block_) {
  if (block_ != nullptr) block_->owners.fetch_add(1, std::memory_order_relaxed);
}

SharedText::~SharedText() {
  // Whoever is last sees what the others did with it.
  if (block_ == nullptr || block_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  block_->~Block();
  ::operator delete(block_);
}

bool SharedText::IsAlone() const { return block_->owners.load(std::memory_order_acquire) == 1; }

SharedText SharedText::Common(absl::string_view text) {
  if (text.empty()) return {};
  static std::mutex mutex;
  static auto& texts = *new absl::flat_hash_set<SharedText>();
  constexpr size_t kFirstSweep = 1024;
  static size_t next_sweep = kFirstSweep;
  const std::lock_guard lock(mutex);
  if (texts.size() >= next_sweep) {
    // Names that nobody has any more. Nobody else gets hold of one meanwhile.
    absl::erase_if(texts, [](const SharedText& known) { return known.IsAlone(); });
    next_sweep = std::max(kFirstSweep, 2 * texts.size());
  }
  return *texts.insert(SharedText(text)).first;
}

std::ostream& operator<<(std::ostream& out, const SharedText& text) { return out << text.view(); }

}  // namespace fairlead

#include "watcher/shared_text.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

TEST_CASE("a shared text is its characters") {
  const SharedText text("node-1");
  CHECK(text.view() == "node-1");
  CHECK(text.str() == "node-1");
  CHECK(text == SharedText(std::string("node-1")));
  CHECK(text != SharedText("node-2"));
  CHECK(text < SharedText("node-10"));
  CHECK_FALSE(text < text);
  CHECK(SharedText("b") > SharedText("a"));
  CHECK(text <= SharedText(text));
  CHECK(text == "node-1");
  CHECK(absl::string_view("node-2") != text);
  CHECK(std::string("node-1") == text);
  // A byte of value 0 is one like any other.
  CHECK(SharedText(absl::string_view("a\0b", 3)).view() == absl::string_view("a\0b", 3));
  CHECK(absl::flat_hash_set<SharedText>{text}.contains(SharedText("node-1")));
}

TEST_CASE("an empty text is like one that was never set") {
  CHECK(SharedText().empty());
  CHECK(SharedText("").empty());
  CHECK(SharedText::Common("").empty());
  CHECK(SharedText("") == SharedText());
  CHECK(SharedText() < SharedText("a"));
  CHECK(SharedText().view() == "");
  CHECK_FALSE(SharedText("a").empty());
}

TEST_CASE("a copy has the same characters in memory, and they outlive the first") {
  SharedText copy;
  absl::string_view before;
  {
    const SharedText first("web-7c9d8f6b5-x7k2p");
    before = first.view();
    copy = first;
  }
  CHECK(copy.view().data() == before.data());
  CHECK(copy.view() == "web-7c9d8f6b5-x7k2p");
  SharedText moved = std::move(copy);
  CHECK(moved.view().data() == before.data());
  moved = SharedText("other");
  CHECK(moved.view() == "other");
  const SharedText& same = moved;
  moved = same;
  CHECK(moved.view() == "other");
}

TEST_CASE("a common text is there once, however often it is asked for") {
  const SharedText first = SharedText::Common("ip-10-0-1-17.example");
  CHECK(SharedText::Common("ip-10-0-1-17.example").view().data() == first.view().data());
  CHECK(SharedText("ip-10-0-1-17.example").view().data() != first.view().data());
  // Those that nobody has any more are swept away; those that somebody has stay the same.
  for (int i = 0; i < 10'000; ++i) SharedText::Common(absl::StrCat("gone-", i));
  CHECK(SharedText::Common("ip-10-0-1-17.example").view().data() == first.view().data());
}

TEST_CASE("threads may copy and ask for the same texts") {
  const SharedText shared("shared");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&shared] {
      for (int j = 0; j < 5000; ++j) {
        const SharedText copy = shared;
        const SharedText common = SharedText::Common(absl::StrCat("node-", j % 100));
        if (copy != shared || common.empty()) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(shared == SharedText("shared"));
}

}  // namespace
}  // namespace fairlead

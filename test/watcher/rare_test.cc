#include "watcher/rare.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fairlead {
namespace {

using Texts = Rare<std::vector<std::string>>;

static_assert(sizeof(Texts) == sizeof(void*));

TEST_CASE("what is rarely set is its value") {
  const Texts texts = std::vector<std::string>{"a", "b"};
  CHECK(*texts == std::vector<std::string>{"a", "b"});
  CHECK(texts->size() == 2);
  CHECK(texts == Texts(std::vector<std::string>{"a", "b"}));
  CHECK(texts != Texts(std::vector<std::string>{"a"}));
}

TEST_CASE("what was never set is like the default") {
  CHECK(Texts()->empty());
  CHECK(Texts() == Texts(std::vector<std::string>()));
  CHECK(Texts() != Texts(std::vector<std::string>{"a"}));
}

TEST_CASE("copies of it are independent, and a moved one is at its default") {
  Texts first = std::vector<std::string>{"a"};
  Texts copy = first;
  first = std::vector<std::string>{"b"};
  CHECK(*copy == std::vector<std::string>{"a"});
  const Texts moved = std::move(first);
  CHECK(*moved == std::vector<std::string>{"b"});
  CHECK(first->empty());  // NOLINT(bugprone-use-after-move)
  copy = {};
  CHECK(copy->empty());
}

}  // namespace
}  // namespace fairlead

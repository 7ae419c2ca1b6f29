#include "proxy/cli/table.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

TEST_CASE("columns are as wide as their widest value, and lines end without blanks") {
  Table table({{"NAME"}, {"COUNT", Alignment::kRight}, {"STATE"}}, /*color=*/false);
  table.AddRow({"shop/cart", "7", "ready"});
  table.AddRow({"a", "1234567", ""});
  CHECK(table.Take() ==
        "NAME         COUNT  STATE\n"
        "shop/cart        7  ready\n"
        "a          1234567  -\n");
}

TEST_CASE("a table without rows has its headers") {
  Table table({{"NAME"}, {"STATE"}}, /*color=*/false);
  CHECK(table.Take() == "NAME  STATE\n");
}

TEST_CASE("a table in parts has its headers once, and columns that only grow") {
  Table table({{"NAME"}, {"STATE"}}, /*color=*/false);
  table.AddRow({"a", "ready"});
  CHECK(table.pending() == 1);
  CHECK(table.Take() == "NAME  STATE\na     ready\n");
  CHECK(table.pending() == 0);
  table.AddRow({"longer", "ready"});
  CHECK(table.Take() == "longer  ready\n");
  table.AddRow({"b", "ready"});
  CHECK(table.Take() == "b       ready\n");
}

TEST_CASE("a row that lacks cells is filled up") {
  Table table({{"A"}, {"B"}, {"C"}}, /*color=*/false);
  table.AddRow({"1"});
  CHECK(table.Take() == "A  B  C\n1  -  -\n");
}

TEST_CASE("a value is cut at its column's limit only, and shows it") {
  struct Row {
    const char* name;
    const char* text;
    const char* shown;
  };
  const Row kRows[] = {
      {"fits", "12345", "12345"},
      {"is one too long", "123456", "1234…"},
      {"is long", "1234567890", "1234…"},
      {"fits by characters, not by bytes", "ääääö", "ääääö"},
      {"is cut between characters", "ääääöö", "ääää…"},
  };
  for (const Row& row : kRows) {
    INFO(row.name);
    Table table({{"NAME", Alignment::kLeft, 5}, {"X"}}, /*color=*/false);
    table.AddRow({row.text, "x"});
    CHECK(table.Take() == std::string("NAME   X\n") + row.shown + "  x\n");
  }
}

TEST_CASE("what a name holds is no command to the terminal") {
  Table table({{"NAME"}}, /*color=*/false);
  table.AddRow({"a\033[31m\nb\x7f"});
  CHECK(table.Take() == "NAME\na?[31m?b?\n");
}

TEST_CASE("colours stand around values and change no column") {
  Table table({{"NAME"}, {"COUNT", Alignment::kRight}, {"STATE"}}, /*color=*/true);
  table.AddRow({"a", Cell("7", Tone::kFaint), Cell("draining", Tone::kWarning)});
  table.AddRow({Cell("b", Tone::kGood), "12", Cell("reject", Tone::kBad)});
  CHECK(table.Take() ==
        "\033[1mNAME  COUNT  STATE\033[0m\n"
        "a         \033[2m7\033[0m  \033[33mdraining\033[0m\n"
        "\033[32mb\033[0m        12  \033[31mreject\033[0m\n");
}

TEST_CASE("colour is for terminals that can, and for those who have not declined") {
  struct Row {
    const char* name;
    bool is_terminal;
    const char* no_color;
    const char* term;
    bool color;
  };
  const Row kRows[] = {
      {"a terminal", true, nullptr, "xterm", true},
      {"NO_COLOR is set and empty", true, "", "xterm", true},
      {"declined", true, "1", "xterm", false},
      {"declined by any value", true, "0", "xterm", false},
      {"a file or a pipe", false, nullptr, "xterm", false},
      {"a terminal that cannot", true, nullptr, "dumb", false},
      {"TERM is empty", true, nullptr, "", false},
      {"no TERM", true, nullptr, nullptr, false},
  };
  for (const Row& row : kRows) {
    INFO(row.name);
    CHECK(WantsColor(row.is_terminal, row.no_color, row.term) == row.color);
  }
}

}  // namespace
}  // namespace fairlead

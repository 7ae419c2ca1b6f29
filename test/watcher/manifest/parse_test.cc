#include "watcher/manifest/parse.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "watcher/manifest/field.h"

namespace fairlead::manifest {
namespace {

// A document in one line: maps in braces, lists in brackets, strings that are quoted in quotes.
std::string Show(const Value& value) {
  std::string text;
  switch (value.kind) {
    case Value::Kind::kNull:
      return "null";
    case Value::Kind::kScalar:
      return value.Type() == ScalarType::kString ? absl::StrCat("'", value.text, "'") : value.text;
    case Value::Kind::kList:
      for (const Value* item : value.items)
        absl::StrAppend(&text, text.empty() ? "" : ",", Show(*item));
      return absl::StrCat("[", text, "]");
    case Value::Kind::kMap:
      for (const auto& [key, field] : value.fields) {
        absl::StrAppend(&text, text.empty() ? "" : ",", key, ":", Show(*field));
      }
      return absl::StrCat("{", text, value.duplicate_keys ? "!" : "", "}");
  }
  return text;
}

std::string Show(const ParsedText& parsed) {
  std::string text;
  for (const Document& document : parsed.documents) {
    absl::StrAppend(&text, text.empty() ? "" : " ", Show(*document.root));
  }
  for (const ParseFault& fault : parsed.faults) {
    absl::StrAppend(&text, text.empty() ? "" : " ", "fault@", fault.line);
  }
  return text;
}

std::string Repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

// Nine levels of nine aliases each: 9^9 values.
std::string AliasBomb() {
  std::string text = "a0: &a0 [x]\n";
  for (int i = 1; i <= 9; ++i) {
    absl::StrAppend(&text, "a", i, ": &a", i, " [", Repeat(absl::StrCat("*a", i - 1, ","), 9),
                    "]\n");
  }
  return text;
}

TEST_CASE("texts become documents") {
  struct Case {
    std::string name;
    std::string text;
    bool prefer_json;
    std::string want;
  };
  const Case cases[] = {
      {"nothing", "", false, ""},
      {"blanks and comments", "\n# nothing\n\n", false, ""},
      {"only markers", "---\n---\n# x\n---\n", false, ""},
      {"a map", "a: 1\nb: x\n", false, "{a:1,b:'x'}"},
      {"several documents", "a: 1\n---\nb: 2\n---\nc: 3", false, "{a:1} {b:2} {c:3}"},
      {"end markers", "a: 1\n...\n---\nb: 2\n...\n", false, "{a:1} {b:2}"},
      {"text behind the marker", "--- {a: 1}\n--- # comment\nb: 2\n", false, "{a:1} {b:2}"},
      {"a directive", "%YAML 1.1\n---\na: 1\n", false, "{a:1}"},
      {"a byte-order mark",
       "\xef\xbb\xbf"
       "a: 1\n",
       false, "{a:1}"},
      {"CRLF", "a: 1\r\nb:\r\n- x\r\n---\r\nc: 2\r\n", false, "{a:1,b:['x']} {c:2}"},
      {"no newline at the end", "a: 1", false, "{a:1}"},
      {"a quoted number is a string", "a: \"80\"\nb: '80'\nc: 80\n", false, "{a:'80',b:'80',c:80}"},
      {"a tag makes a string", "a: !!str 80\n", false, "{a:'80'}"},
      {"a block that has dashes in it", "a: |\n  ---\n  b\n", false, "{a:'---\nb\n'}"},
      {"null in its forms", "a: ~\nb:\nc: null\nd: \"\"\n", false, "{a:null,b:null,c:null,d:''}"},
      {"anchors and aliases", "a: &x {b: 1}\nc: *x\n", false, "{a:{b:1},c:{b:1}}"},
      {"a merge key", "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", false,
       "{a:{b:1,c:2},d:{c:3,b:1}}"},
      {"merged lists of maps", "a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne: {<<: [*x, *y]}\n", false,
       "{a:{b:1},c:{b:2,d:3},e:{b:1,d:3}}"},
      {"a quoted << is a key", "a: {\"<<\": {b: 1}}\n", false, "{a:{<<:{b:1}}}"},
      {"a duplicate key", "a: 1\na: 2\n", false, "{a:1!}"},
      {"JSON", "{\"a\": [1, -2, true, null, \"x\", 1.5]}", true, "{a:[1,-2,true,null,'x',1.5]}"},
      {"a stream of JSON", "{\"a\": 1}\n{\"b\": 2}\n---\n{\"c\": 3}", true, "{a:1} {b:2} {c:3}"},
      {"JSON with tabs and escapes", "{\t\"a\":\t\"\\ud83d\\ude00\\/\"}", false,
       "{a:'\xf0\x9f\x98\x80/'}"},
      {"JSON with a duplicate key", "{\"a\": 1, \"a\": 2}", true, "{a:1!}"},
      {"flow style that is not JSON", "{a: 1, b: [x, z]}\n", false, "{a:1,b:['x','z']}"},
      {"a malformed document among good ones", "a: 1\n---\nb: [1\n---\nc: 3\n", false,
       "{a:1} {c:3} fault@4"},
      {"malformed JSON", "{\"a\": 1,\n\"b\" 2}", true, "fault@2"},
      {"truncated JSON", "{\"a\": 1,\n\n", true, "fault@2"},
      {"YAML in a .json file", "a: 1\n", true, "fault@1"},
      {"a tab for indentation", "a:\n\tb: 1\n", false, "fault@2"},
      {"a stray comma", "a: 1\n---\n, x\n", false, "{a:1} fault@3"},
      {"a stray bracket", "]\n", false, "fault@1"},
      {"an alias to nowhere", "a: *x\n", false, "fault@1"},
      {"an alias within its own anchor", "a: &x [*x]\n", false, "fault@1"},
      {"a merge of a scalar", "a:\n  <<: 5\n", false, "fault@2"},
      {"a map for a key", "? {a: 1}\n: 2\n", false, "fault@1"},
      {"not UTF-8", "a: 1\nb: \xff\n", false, "fault@2"},
      {"a surrogate in UTF-8", "a: \xed\xa0\x80\n", false, "fault@1"},
      {"UTF-16", std::string("\xff\xfe\x61\x00", 4), false, "fault@1"},
      {"a NUL", std::string("a: 1\n\0\n", 7), false, "fault@2"},
      {"as deep as is allowed", Repeat("[", kMaxNesting) + Repeat("]", kMaxNesting), false,
       Repeat("[", kMaxNesting) + Repeat("]", kMaxNesting)},
      {"deeper", Repeat("[", kMaxNesting + 1) + Repeat("]", kMaxNesting + 1), false, "fault@1"},
      {"much deeper", Repeat("[", 100'000), false, "fault@1"},
      {"much deeper, in JSON", "{\"a\":" + Repeat("[", 100'000), true, "fault@1"},
      {"much deeper, in block style", Repeat("- ", 5'000), false, "fault@1"},
      {"aliases of aliases", AliasBomb(), false, "fault@8"},
      {"a file that is too large", std::string(kMaxFileBytes + 1, ' '), false, "fault@0"},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const ParsedText parsed = ParseDocuments(c.text, c.prefer_json);
    for (const ParseFault& fault : parsed.faults) INFO(fault.message);
    CHECK(Show(parsed) == c.want);
  }
}

TEST_CASE("values know their line") {
  const ParsedText yaml = ParseDocuments("# x\na: 1\n---\nb:\n  c: 2\n", false);
  REQUIRE(yaml.documents.size() == 2);
  CHECK(yaml.documents[0].root->Find("a")->line == 2);
  CHECK(yaml.documents[1].root->Find("b")->Find("c")->line == 5);
  const ParsedText json =
      ParseDocuments("{\n\"a\": 1\n,\"b\": {\n\"c\": [\n7\n]}}\n{\n\"d\":2}", true);
  REQUIRE(json.documents.size() == 2);
  CHECK(json.documents[0].root->Find("a")->line == 2);
  CHECK(json.documents[0].root->Find("b")->line == 3);
  CHECK(json.documents[0].root->Find("b")->Find("c")->items[0]->line == 5);
  CHECK(json.documents[1].root->Find("d")->line == 8);
}

TEST_CASE("plain scalars are what YAML 1.1 takes them for") {
  struct Case {
    const char* text;
    ScalarType type;
    int64_t number;
  };
  const Case cases[] = {
      {"80", ScalarType::kInteger, 80},       {"-1", ScalarType::kInteger, -1},
      {"+8", ScalarType::kInteger, 8},        {"0x50", ScalarType::kInteger, 80},
      {"0120", ScalarType::kInteger, 80},     {"0o120", ScalarType::kInteger, 80},
      {"0b11", ScalarType::kInteger, 3},      {"30_080", ScalarType::kInteger, 30080},
      {"80.0", ScalarType::kInteger, 80},     {"8e1", ScalarType::kInteger, 80},
      {"80.5", ScalarType::kFloat, 0},        {".inf", ScalarType::kFloat, 0},
      {"1e999", ScalarType::kFloat, 0},       {"99999999999999999999", ScalarType::kFloat, 0},
      {"yes", ScalarType::kBool, 0},          {"Off", ScalarType::kBool, 0},
      {"true", ScalarType::kBool, 0},         {"yEs", ScalarType::kString, 0},
      {"10.0.0.1", ScalarType::kString, 0},   {"http", ScalarType::kString, 0},
      {"0x", ScalarType::kString, 0},         {"-", ScalarType::kString, 0},
      {"2024-01-01", ScalarType::kString, 0}, {"1-2", ScalarType::kString, 0},
      {"fd00::1", ScalarType::kString, 0},    {"e5", ScalarType::kString, 0},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    Value value;
    value.kind = Value::Kind::kScalar;
    value.text = c.text;
    CHECK(value.Type() == c.type);
    int64_t number = 0;
    CHECK(ParseInteger(c.text, &number) == (c.type == ScalarType::kInteger));
    CHECK(number == c.number);
    value.quoted = true;
    CHECK(value.Type() == ScalarType::kString);
  }
}

}  // namespace
}  // namespace fairlead::manifest

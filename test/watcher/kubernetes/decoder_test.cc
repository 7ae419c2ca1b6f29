#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "test/watcher/kubernetes/objects.h"
#include "watcher/kubernetes/json_object.h"
#include "watcher/kubernetes/json_splitter.h"
#include "watcher/kubernetes/object_decoder.h"
#include "watcher/kubernetes/object_store.h"

namespace fairlead::kubernetes {
namespace {

using Texts = std::vector<std::string>;

// What a splitter makes of a text that comes in pieces of `size` bytes; with "!…" at its end if it
// is an error.
template <typename Splitter>
Texts Split(Splitter splitter, const std::string& text, size_t size) {
  Texts texts;
  absl::Status status;
  for (size_t i = 0; i < text.size() && status.ok(); i += size) {
    status = splitter.Feed(text.substr(i, size), [&texts](absl::string_view object) {
      texts.emplace_back(object);
      return true;
    });
  }
  if (status.ok()) status = splitter.Finish();
  if (!status.ok()) texts.push_back(absl::StrCat("!", status.message()));
  return texts;
}

TEST_CASE("a stream of objects is split wherever it is cut into pieces") {
  struct Case {
    const char* name;
    std::string text;
    Texts objects;
  };
  const Case cases[] = {
      {"nothing", "", {}},
      {"blanks", " \r\n\t\n", {}},
      {"two lines", "{\"a\":1}\n{\"b\":[{}]}\n", {"{\"a\":1}", "{\"b\":[{}]}"}},
      {"no line between them", "{}{}", {"{}", "{}"}},
      {"braces in a string", R"({"a":"}{]["}{"b":1})", {R"({"a":"}{]["})", R"({"b":1})"}},
      {"escapes", R"({"a":"\"}\\"} {"b":"\\\""})", {R"({"a":"\"}\\"})", R"({"b":"\\\""})"}},
      {"it ends too early", "{}\n{\"a\":", {"{}", "!it ends in the middle of an event"}},
      {"an object of the largest size", "{\"a\":\"012345678\"}", {"{\"a\":\"012345678\"}"}},
      {"a larger object", "{\"a\":\"0123456789\"}", {"!an event is larger than any object can be"}},
  };
  for (const Case& c : cases) {
    for (const size_t size : {1, 2, 3, 7, 1000}) {
      INFO(c.name << " in pieces of " << size);
      CHECK(Split(StreamSplitter(/*max_object_bytes=*/17), c.text, size) == c.objects);
    }
  }
}

TEST_CASE("what is no stream of objects is refused at its first byte") {
  CHECK(Split(StreamSplitter(), "<html>", 100) == Texts{"!not JSON as it should be: \"<html>\""});
  CHECK(Split(StreamSplitter(), "{} x", 1) == Texts{"{}", "!not JSON as it should be: \"x\""});
  CHECK(Split(StreamSplitter(), "[1]", 1) == Texts{"!not JSON as it should be: \"[\""});
}

TEST_CASE("a page is split into its items wherever it is cut into pieces") {
  struct Case {
    const char* name;
    std::string text;
    Texts items;
    std::string envelope;
  };
  const Case cases[] = {
      {"items last",
       R"({"kind":"L","items":[{"a":1}, {"b":{}}]} )",
       {R"({"a":1})", R"({"b":{}})"},
       R"({"kind":"L","items":[]})"},
      {"items first",
       R"({"items" : [ {"a":"]"} ],"kind":"L"})",
       {R"({"a":"]"})"},
       R"({"items" : [],"kind":"L"})"},
      {"no items", R"({"items":[]})", {}, R"({"items":[]})"},
      {"null for items", R"({"items":null})", {}, R"({"items":null})"},
      {"items deeper down", R"({"a":{"items":[{"x":1}]}})", {}, R"({"a":{"items":[{"x":1}]}})"},
      {"items as a value", R"({"a":"items","b":[{"x":1}]})", {}, R"({"a":"items","b":[{"x":1}]})"},
      {"escapes in names",
       R"({"it\"ems":["["],"items":[{}]})",
       {"{}"},
       R"({"it\"ems":["["],"items":[]})"},
  };
  for (const Case& c : cases) {
    for (const size_t size : {1, 2, 3, 7, 1000}) {
      INFO(c.name << " in pieces of " << size);
      PageSplitter splitter;
      Texts items;
      for (size_t i = 0; i < c.text.size(); i += size) {
        const absl::Status status =
            splitter.Feed(c.text.substr(i, size), [&items](absl::string_view item) {
              items.emplace_back(item);
              return true;
            });
        REQUIRE(status.ok());
      }
      CHECK(splitter.Finish().ok());
      CHECK(items == c.items);
      CHECK(splitter.envelope() == c.envelope);
    }
  }
}

TEST_CASE("what is no page is refused") {
  const std::string large(kMaxEnvelopeBytes, 'x');
  const std::pair<std::string, Texts> cases[] = {
      {"<html>", {"!not JSON as it should be: \"<html>\""}},
      {R"({"items":[1]})", {"!not JSON as it should be: \"1]}\""}},
      {R"({"items":[{})", {"{}", "!it ends in the middle of a page"}},
      {R"({"items":[{}]} {})", {"{}", "!not JSON as it should be: \"{}\""}},
      {R"({"items":[{"a":"0123456789"}]})", {"!an item is larger than any object can be"}},
      {absl::StrCat(R"({"a":")", large, "\"}"), {"!a page holds too much beside its items"}},
      {"", {"!it ends in the middle of a page"}},
  };
  for (const auto& [text, items] : cases) {
    INFO(text.substr(0, 100));
    CHECK(Split(PageSplitter(/*max_object_bytes=*/17), text, text.size() + 1) == items);
  }
  CHECK(Split(PageSplitter(100, /*max_page_bytes=*/20), R"({"items":[{},{},{},{}]})", 15) ==
        Texts{"{}", "{}", "!a page is larger than 20 bytes"});
}

TEST_CASE("lists that nothing reads are left out of an object") {
  const auto document =
      ParseJsonObject(R"({"managedFields":[{"a":[1,2.5,null,true,"x"]}],"images":[{"n":{}}],"a":1,)"
                      R"("b":{"images":"kept","c":[{"managedFields":7},["also kept"]]},"d":null})");
  REQUIRE(document.ok());
  const manifest::Value& root = *document->root;
  CHECK(root.Find("managedFields")->kind == manifest::Value::Kind::kNull);
  CHECK(root.Find("images")->kind == manifest::Value::Kind::kNull);
  CHECK(root.Find("a")->text == "1");
  CHECK(root.Find("b")->Find("images")->text == "kept");
  const manifest::Value& list = *root.Find("b")->Find("c");
  REQUIRE(list.items.size() == 2);
  CHECK(list.items[0]->Find("managedFields")->text == "7");
  REQUIRE(list.items[1]->items.size() == 1);
  CHECK(list.items[1]->items[0]->text == "also kept");
  CHECK(root.Find("d")->kind == manifest::Value::Kind::kNull);
}

TEST_CASE("a text that is no object is refused") {
  for (const char* text : {"{]", "{\"a\":}", "{\"a\":1}}", "{\"a\":\"\xff\"}", "[]", "1", ""}) {
    INFO(text);
    CHECK(absl::IsInvalidArgument(ParseJsonObject(text).status()));
  }
}

TEST_CASE("an object is decoded, with its version and its trigger time") {
  const auto event = DecodeWatchEvent(
      kEndpointSlices, Modified(SliceJson("cart-1", 7, "12", "2026-01-02T03:04:05.5Z")));
  REQUIRE(event.ok());
  CHECK(event->type == WatchEvent::Type::kUpsert);
  CHECK(event->object.id.Format() == "EndpointSlice shop/cart-1");
  CHECK(event->object.resource_version == "12");
  CHECK_FALSE(event->object.invalid);
  CHECK(event->object.problems.empty());
  CHECK(event->object.trigger_time == absl::FromUnixMillis(1767323045500));
  REQUIRE(event->object.object.has_value());
  const auto& slice = *std::get<std::shared_ptr<const EndpointSlice>>(*event->object.object);
  CHECK(slice.service_name == "cart");
  REQUIRE(slice.endpoints.size() == 1);
  CHECK(slice.endpoints[0].address.Format() == "10.1.0.7");
}

TEST_CASE("an invalid object is known by its name, and by what is wrong with it") {
  const auto event = DecodeWatchEvent(
      kServices, Added(ServiceJson("cart", 1, "5", R"(,"sessionAffinity":"Sometimes")")));
  REQUIRE(event.ok());
  CHECK(event->object.id.Format() == "Service shop/cart");
  CHECK(event->object.invalid);
  CHECK_FALSE(event->object.object.has_value());
  REQUIRE(event->object.problems.size() == 1);
  CHECK(event->object.problems[0].Format() ==
        "Service shop/cart: spec.sessionAffinity: \"Sometimes\" is not one of None, ClientIP");
}

TEST_CASE("a slice that belongs to no Service is of no interest, and no error") {
  const auto event = DecodeWatchEvent(
      kEndpointSlices, Added(R"({"metadata":{"name":"a","namespace":"b","resourceVersion":"1"},)"
                             R"("addressType":"FQDN","endpoints":[]})"));
  REQUIRE(event.ok());
  CHECK_FALSE(event->object.invalid);
  CHECK_FALSE(event->object.object.has_value());
}

TEST_CASE("bookmarks, removals and errors of a watch") {
  const auto bookmark = DecodeWatchEvent(kServices, Bookmark("Service", "99"));
  REQUIRE(bookmark.ok());
  CHECK(bookmark->type == WatchEvent::Type::kBookmark);
  CHECK(bookmark->object.resource_version == "99");
  const auto removal =
      DecodeWatchEvent(kServices, Deleted(R"({"metadata":{"name":"cart","namespace":"shop",)"
                                          R"("resourceVersion":"8"},"spec":{"type":7}})"));
  REQUIRE(removal.ok());
  CHECK(removal->type == WatchEvent::Type::kRemove);
  CHECK(removal->object.id.Format() == "Service shop/cart");
  const auto error = DecodeWatchEvent(kServices, Error(410, "too old resource version: 1 (5)"));
  REQUIRE(error.ok());
  CHECK(error->type == WatchEvent::Type::kError);
  CHECK(error->error == ErrorStatus{410, "too old resource version: 1 (5)"});
}

TEST_CASE("what is no event of the resource is refused") {
  const std::pair<std::string, std::string> cases[] = {
      {"{\"type\":\"ADDED\"}", "an event without an object"},
      {"{\"type\":\"ADDED\",\"object\":[]}", "an event without an object"},
      {"{\"type\":\"SHOUTED\",\"object\":{}}", "an event of the unknown type \"SHOUTED\""},
      {"{\"object\":{}}", "an event of the unknown type \"\""},
      {Added(R"({"kind":"Pod","metadata":{"name":"a","resourceVersion":"1"}})"),
       "an object is a \"Pod\", not a Service"},
      {Added(R"({"kind":"Service"})"), "a Service without a valid name"},
      {Deleted(R"({"metadata":{"name":"UPPER"}})"), "a Service without a valid name"},
      {Added(R"({"metadata":{"name":"a"},"spec":{}})"), "an event without a resourceVersion"},
      {Bookmark("Pod", "7"), "an object is a \"Pod\", not a Service"},
      {"{\"type\":\"ADDED\",\"object\":{]}", "an event is not valid JSON at byte 27"},
  };
  for (const auto& [text, message] : cases) {
    INFO(text);
    const auto event = DecodeWatchEvent(kServices, text);
    CHECK(absl::IsInvalidArgument(event.status()));
    CHECK(event.status().message() == message);
  }
}

// The names in a page that comes byte by byte, then its end or what is wrong with it.
Texts DecodePage(const std::string& text) {
  PageDecoder decoder(kServices);
  Texts result;
  absl::Status status;
  for (size_t i = 0; i < text.size() && status.ok(); ++i) {
    status = decoder.Feed(text.substr(i, 1), [&result](const DecodedObject& object) {
      result.push_back(absl::StrCat(object.id.Format(), object.invalid ? " (invalid)" : ""));
    });
  }
  const absl::StatusOr<PageEnd> end = status.ok() ? decoder.Finish() : status;
  result.push_back(end.ok() ? absl::StrCat("end ", end->resource_version, " ", end->continue_token)
                            : absl::StrCat("!", end.status().message()));
  return result;
}

std::string PageText(const std::string& kind, const std::string& metadata,
                     const std::string& items) {
  return absl::StrCat(R"({"kind":")", kind, R"(","apiVersion":"v1","metadata":{)", metadata,
                      R"(},"items":)", items, "}");
}

TEST_CASE("pages of lists, good and bad") {
  const std::string version = R"("resourceVersion":"7")";
  struct Case {
    const char* name;
    std::string text;
    Texts result;
  };
  const Case cases[] = {
      {"two items and more to come",
       PageText("ServiceList", version + R"(,"continue":"c")",
                absl::StrCat("[", ServiceJson("a", 1), ",", ServiceJson("b", 2), "]")),
       {"Service shop/a", "Service shop/b", "end 7 c"}},
      {"no items", PageText("ServiceList", version, "null"), {"end 7 "}},
      {"an invalid item",
       PageText("ServiceList", version, "[" + ServiceJson("a", 1, "5", ",\"type\":5") + "]"),
       {"Service shop/a (invalid)", "end 7 "}},
      {"a list of something else",
       PageText("PodList", version, "[]"),
       {"!a \"PodList\" instead of a ServiceList"}},
      {"a Status", StatusJson(500, "no"), {"!a \"Status\" instead of a ServiceList"}},
      {"no version", PageText("ServiceList", "", "[]"), {"!a page without a resourceVersion"}},
      {"an item of another kind",
       PageText("ServiceList", version, R"([{"kind":"Pod"}])"),
       {"!an object is a \"Pod\", not a Service"}},
      {"an item without a name",
       PageText("ServiceList", version, "[{}]"),
       {"!a Service without a valid name"}},
      {"items that are no list",
       PageText("ServiceList", version, "{\"a\":{}}"),
       {"!a page whose items are no list"}},
      {"an item that is no JSON",
       PageText("ServiceList", version, "[{a}]"),
       {"!an item is not valid JSON at byte 2"}},
      {"an envelope that is no JSON", "{\"kind\":]", {"!a page is not valid JSON at byte 9"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    CHECK(DecodePage(c.text) == c.result);
  }
}

TEST_CASE("damaged streams are refused or decoded, and the same in whatever pieces they come") {
  std::mt19937_64 random(1);
  const auto below = [&random](size_t limit) { return random() % limit; };
  const std::string stream = Added(ServiceJson("a", 1)) + "\n" + Bookmark("Service", "9") + "\n" +
                             Modified(ServiceJson("b", 2)) + "\n";
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = stream;
    for (size_t faults = 1 + below(3); faults > 0; --faults) {
      const size_t at = below(damaged.size());
      switch (below(4)) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged[at] = "{}[]\",:\\"[below(8)];
          break;
        case 2:
          damaged.erase(at, 1 + below(10));
          break;
        case 3:
          damaged.insert(at, damaged.substr(below(damaged.size()), 10));
          break;
      }
    }
    INFO(damaged);
    const Texts whole = Split(StreamSplitter(), damaged, damaged.size());
    Texts in_pieces = Split(StreamSplitter(), damaged, 1 + below(20));
    // What is not as it should be is quoted as far as it has come.
    REQUIRE(in_pieces.size() == whole.size());
    if (!whole.empty() && absl::StartsWith(whole.back(), "!")) {
      REQUIRE(absl::StartsWith(in_pieces.back(), "!"));
      in_pieces.back() = whole.back();
    }
    REQUIRE(in_pieces == whole);
    for (const std::string& text : whole) {
      const auto event = DecodeWatchEvent(kServices, text);
      REQUIRE((event.ok() || absl::IsInvalidArgument(event.status())));
    }
  }
}

DecodedObject DecodeSlice(int host, const std::string& trigger_time) {
  auto event =
      DecodeWatchEvent(kEndpointSlices, Modified(SliceJson("cart-1", host, "5", trigger_time)));
  REQUIRE(event.ok());
  return std::move(event->object);
}

TEST_CASE("a change of a slice is as old as its annotation says, if that may be") {
  const absl::Time now = absl::FromCivil(absl::CivilDay(2026, 1, 1), absl::UTCTimeZone());
  const auto change_of = [&](const std::string& before, const std::string& after) {
    Journal journal;
    ObjectStore store(kEndpointSlices, journal);
    store.BeginList();
    store.AddListed(DecodeSlice(1, before));
    store.FinishList(now);
    REQUIRE(Changes(journal) == Texts{"1 EndpointSlice shop/cart-1 10.1.0.1"});
    store.Upsert(DecodeSlice(2, after), now);
    const Texts changes = Changes(journal);
    REQUIRE(changes.size() == 1);
    constexpr absl::string_view kChange = "2 EndpointSlice shop/cart-1 10.1.0.2 @";
    REQUIRE(absl::StartsWith(changes[0], kChange));
    return changes[0].substr(kChange.size());
  };
  CHECK(change_of("", "2025-12-31T23:59:59.25Z") == "2025-12-31T23:59:59.25+00:00");
  CHECK(change_of("2025-12-31T23:59:58Z", "2025-12-31T23:59:59Z") == "2025-12-31T23:59:59+00:00");
  const std::string receipt = "2026-01-01T00:00:00+00:00";
  CHECK(change_of("2025-12-31T23:59:59Z", "2025-12-31T23:59:59Z") == receipt);
  CHECK(change_of("", "2026-01-01T00:00:01Z") == receipt);
  CHECK(change_of("", "yesterday") == receipt);
  CHECK(change_of("2025-12-31T23:59:59Z", "") == receipt);
}

DecodedObject DecodeService(int host, const std::string& more_spec = "") {
  auto event = DecodeWatchEvent(kServices, Modified(ServiceJson("cart", host, "5", more_spec)));
  REQUIRE(event.ok());
  return std::move(event->object);
}

constexpr char kInvalid[] = ",\"sessionAffinity\":5";

TEST_CASE("of an invalid object the version before remains, as long as there is the object") {
  Journal journal;
  ObjectStore store(kServices, journal);
  const absl::Time now = absl::FromUnixSeconds(1);
  const Texts before = {"Service shop/cart 10.96.0.1"};
  const auto list = [&](std::vector<DecodedObject> objects) {
    store.BeginList();
    for (DecodedObject& object : objects) store.AddListed(std::move(object));
    store.FinishList(now);
  };
  list({DecodeService(1)});
  store.Upsert(DecodeService(2, kInvalid), now);
  CHECK(Contents(journal) == before);
  CHECK(store.invalid_count() == 1);
  CHECK_FALSE(store.is_partial());
  list({DecodeService(3, kInvalid)});
  CHECK(Contents(journal) == before);
  CHECK(journal.head_revision() == 1);
  store.Upsert(DecodeService(4), now);
  CHECK(Contents(journal) == Texts{"Service shop/cart 10.96.0.4"});
  CHECK(store.invalid_count() == 0);

  store.Upsert(DecodeService(5, kInvalid), now);
  SECTION("until a list no longer has it") {
    list({});
    CHECK(Contents(journal).empty());
    CHECK(store.invalid_count() == 0);
  }
  SECTION("until it is removed") {
    store.Remove({ObjectKind::kService, {"shop", "cart"}}, now);
    CHECK(Contents(journal).empty());
    CHECK(store.invalid_count() == 0);
  }
}

TEST_CASE("an object that was never valid is not in the journal, which is partial without it") {
  Journal journal;
  ObjectStore store(kServices, journal);
  store.BeginList();
  store.AddListed(DecodeService(1, kInvalid));
  store.FinishList(absl::FromUnixSeconds(1));
  CHECK(Contents(journal).empty());
  CHECK(store.invalid_count() == 1);
  CHECK(store.is_partial());
  store.Upsert(DecodeService(1), absl::FromUnixSeconds(2));
  CHECK(Contents(journal) == Texts{"Service shop/cart 10.96.0.1"});
  CHECK_FALSE(store.is_partial());
}

TEST_CASE("a list that is begun again forgets what came before") {
  Journal journal;
  ObjectStore store(kServices, journal);
  store.BeginList();
  store.AddListed(DecodeService(1));
  store.BeginList();
  store.FinishList(absl::FromUnixSeconds(1));
  CHECK(Contents(journal).empty());
}

TEST_CASE("an object that no longer concerns anybody leaves the journal") {
  Journal journal;
  ObjectStore store(kEndpointSlices, journal);
  store.Upsert(DecodeSlice(1, ""), absl::FromUnixSeconds(1));
  REQUIRE(Contents(journal).size() == 1);
  const auto event = DecodeWatchEvent(
      kEndpointSlices,
      Modified(R"({"metadata":{"name":"cart-1","namespace":"shop","resourceVersion":"9"},)"
               R"("addressType":"FQDN","endpoints":[]})"));
  REQUIRE(event.ok());
  store.Upsert(event->object, absl::FromUnixSeconds(2));
  CHECK(Contents(journal).empty());
}

}  // namespace
}  // namespace fairlead::kubernetes

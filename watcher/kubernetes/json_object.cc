#include "watcher/kubernetes/json_object.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {
namespace {

// Lists that make up most of many objects and concern no rule: who wrote which field, and a Node's
// container images.
bool IsLeftOut(absl::string_view key) { return key == "managedFields" || key == "images"; }

// Hands the parser's events to a builder; a false ends the parse.
class Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override {
    left_out_ = false;
    return skipping_ > 0 || builder.Null(0, 0);
  }
  bool boolean(bool value) override { return Plain(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override {
    return skipping_ > 0 || Plain(absl::StrCat(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return skipping_ > 0 || Plain(absl::StrCat(value));
  }
  bool number_float(number_float_t, const string_t& text) override { return Plain(text); }
  bool string(string_t& text) override { return Quoted(&text); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override {
    left_out_ = false;
    return Skip(+1) || builder.StartMap(0, 0);
  }
  bool key(string_t& text) override {
    if (skipping_ > 0) return true;
    const bool left_out = IsLeftOut(text);
    if (!Quoted(&text)) return false;
    left_out_ = left_out;
    return true;
  }
  bool end_object() override { return Skip(-1) || builder.End(); }
  bool start_array(size_t) override {
    if (Skip(+1)) return true;
    if (!std::exchange(left_out_, false)) return builder.StartList(0, 0);
    skipping_ = 1;
    return builder.Null(0, 0);  // Keys need a value.
  }
  bool end_array() override { return Skip(-1) || builder.End(); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    error = absl::StrCat("is not valid JSON at byte ", position);
    return false;
  }

  manifest::DocumentBuilder builder;
  std::string error;

 private:
  // Whether the event belongs to what is left out.
  bool Skip(int step) {
    if (skipping_ == 0) return false;
    skipping_ += step;
    return true;
  }
  bool Plain(std::string text) {
    left_out_ = false;
    return skipping_ > 0 || builder.Scalar(0, 0, std::move(text), /*quoted=*/false);
  }
  bool Quoted(string_t* text) {
    left_out_ = false;
    return skipping_ > 0 || builder.Scalar(0, 0, std::move(*text), /*quoted=*/true);
  }

  // The last event was a key whose list is left out.
  bool left_out_ = false;
  // Containers that are open in what is left out.
  int64_t skipping_ = 0;
};

}  // namespace

absl::StatusOr<manifest::Document> ParseJsonObject(absl::string_view text) {
  Handler handler;
  if (!nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &handler)) {
    return absl::InvalidArgumentError(handler.builder.error().empty() ? handler.error
                                                                      : handler.builder.error());
  }
  manifest::Document document = handler.builder.Take();
  if (document.root->kind != manifest::Value::Kind::kMap) {
    return absl::InvalidArgumentError("is no JSON object");
  }
  return document;
}

}  // namespace fairlead::kubernetes

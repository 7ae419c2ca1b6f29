#include "watcher/kubernetes/object_decoder.h"

#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "watcher/kubernetes/json_object.h"
#include "watcher/manifest/decode.h"

namespace fairlead::kubernetes {
namespace {

using manifest::Document;
using manifest::Field;
using manifest::Findings;
using manifest::Metadata;
using manifest::Value;

constexpr char kTriggerAnnotation[] = "endpoints.kubernetes.io/last-change-trigger-time";

// A string below a chain of maps; nullptr where there is none.
const std::string* FindText(const Value& root, std::initializer_list<absl::string_view> path) {
  const Value* value = &root;
  for (const absl::string_view key : path) {
    value = value->Find(key);
    if (value == nullptr) return nullptr;
  }
  return value->kind == Value::Kind::kScalar ? &value->text : nullptr;
}

std::string TextOf(const Value& root, std::initializer_list<absl::string_view> path) {
  const std::string* text = FindText(root, path);
  return text == nullptr ? "" : *text;
}

std::optional<absl::Time> FindTriggerTime(const Metadata& metadata) {
  const auto it = metadata.annotations.find(kTriggerAnnotation);
  absl::Time time;
  if (it == metadata.annotations.end() ||
      !absl::ParseTime(absl::RFC3339_full, it->second, &time, nullptr)) {
    return std::nullopt;
  }
  return time;
}

template <typename T>
Object Share(T value) {
  return std::make_shared<const T>(std::move(value));
}

// nullopt: no rule reads the object.
std::optional<Object> DecodeKind(const Resource& resource, const Field& field,
                                 const Metadata& metadata) {
  switch (resource.object_kind) {
    case ObjectKind::kService:
      return Share(manifest::DecodeService(field, metadata).service);
    case ObjectKind::kEndpointSlice:
      if (auto slice = manifest::DecodeEndpointSlice(field, metadata)) {
        return Share(*std::move(slice));
      }
      return std::nullopt;
    case ObjectKind::kNode:
      return Share(manifest::DecodeNode(field, metadata));
  }
  return std::nullopt;
}

// The items of a list need not say what they are, but must not say that they are something else.
absl::Status CheckKind(const Resource& resource, const Value& value) {
  if (value.kind != Value::Kind::kMap) return absl::InvalidArgumentError("an object is no map");
  const std::string* kind = FindText(value, {"kind"});
  if (kind == nullptr || *kind == resource.kind) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("an object is a ", manifest::Quote(*kind), ", not a ", resource.kind));
}

// INVALID_ARGUMENT: nobody can say which object it is.
absl::StatusOr<DecodedObject> DecodeObject(const Resource& resource, const Value& value) {
  if (absl::Status status = CheckKind(resource, value); !status.ok()) return status;
  // The problems' lines and files are empty, so that they begin with the object.
  Findings findings("");
  const Field field(&value, &findings);
  field.IsMap();
  const Metadata metadata = manifest::DecodeMetadata(field, resource.manifest_kind);
  if (metadata.name.name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", resource.kind, " without a valid name"));
  }
  DecodedObject decoded{.id = {resource.object_kind, metadata.name},
                        .resource_version = TextOf(value, {"metadata", "resourceVersion"})};
  findings.set_object(decoded.id.Format());
  decoded.object = DecodeKind(resource, field, metadata);
  decoded.invalid = findings.failed();
  decoded.problems = findings.Take();
  if (decoded.invalid) decoded.object.reset();
  decoded.trigger_time = FindTriggerTime(metadata);
  return decoded;
}

// Which object it is; the rest of a removed one may be whatever it is.
absl::StatusOr<DecodedObject> IdentifyObject(const Resource& resource, const Value& value) {
  if (absl::Status status = CheckKind(resource, value); !status.ok()) return status;
  Findings findings("");
  const Metadata metadata =
      manifest::DecodeMetadata(Field(&value, &findings), resource.manifest_kind);
  if (metadata.name.name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", resource.kind, " without a valid name"));
  }
  return DecodedObject{.id = {resource.object_kind, metadata.name},
                       .resource_version = TextOf(value, {"metadata", "resourceVersion"})};
}

std::optional<ErrorStatus> ReadErrorStatus(const Value& value) {
  if (TextOf(value, {"kind"}) != "Status") return std::nullopt;
  ErrorStatus status{.message = TextOf(value, {"message"})};
  if (!absl::SimpleAtoi(TextOf(value, {"code"}), &status.code)) status.code = 0;
  if (status.message.empty()) status.message = TextOf(value, {"reason"});
  return status;
}

}  // namespace

std::optional<ErrorStatus> ParseErrorStatus(absl::string_view text) {
  const absl::StatusOr<Document> document = ParseJsonObject(text);
  if (!document.ok()) return std::nullopt;
  return ReadErrorStatus(*document->root);
}

absl::StatusOr<WatchEvent> DecodeWatchEvent(const Resource& resource, absl::string_view text) {
  const absl::StatusOr<Document> document = ParseJsonObject(text);
  if (!document.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("an event ", document.status().message()));
  }
  const std::string type = TextOf(*document->root, {"type"});
  const Value* object = document->root->Find("object");
  if (object == nullptr || object->kind != Value::Kind::kMap) {
    return absl::InvalidArgumentError("an event without an object");
  }
  WatchEvent event;
  if (type == "ERROR") {
    event.type = WatchEvent::Type::kError;
    event.error = ReadErrorStatus(*object).value_or(ErrorStatus{.message = "an unknown error"});
    return event;
  }
  absl::StatusOr<DecodedObject> decoded;
  if (type == "ADDED" || type == "MODIFIED") {
    event.type = WatchEvent::Type::kUpsert;
    decoded = DecodeObject(resource, *object);
  } else if (type == "DELETED") {
    event.type = WatchEvent::Type::kRemove;
    decoded = IdentifyObject(resource, *object);
  } else if (type == "BOOKMARK") {
    event.type = WatchEvent::Type::kBookmark;
    const absl::Status status = CheckKind(resource, *object);
    if (!status.ok()) return status;
    decoded = DecodedObject{.resource_version = TextOf(*object, {"metadata", "resourceVersion"})};
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("an event of the unknown type ", manifest::Quote(type)));
  }
  if (!decoded.ok()) return decoded.status();
  if (decoded->resource_version.empty()) {
    return absl::InvalidArgumentError("an event without a resourceVersion");
  }
  event.object = *std::move(decoded);
  return event;
}

absl::Status PageDecoder::Feed(absl::string_view piece, Sink sink) {
  absl::Status problem;
  const absl::Status status = splitter_.Feed(piece, [&](absl::string_view text) {
    const absl::StatusOr<Document> document = ParseJsonObject(text);
    if (!document.ok()) {
      problem = absl::InvalidArgumentError(absl::StrCat("an item ", document.status().message()));
      return false;
    }
    absl::StatusOr<DecodedObject> decoded = DecodeObject(resource_, *document->root);
    if (!decoded.ok()) {
      problem = decoded.status();
      return false;
    }
    sink(*std::move(decoded));
    return true;
  });
  return problem.ok() ? status : problem;
}

absl::StatusOr<PageEnd> PageDecoder::Finish() const {
  if (absl::Status status = splitter_.Finish(); !status.ok()) return status;
  const absl::StatusOr<Document> document = ParseJsonObject(splitter_.envelope());
  if (!document.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("a page ", document.status().message()));
  }
  const std::string kind = TextOf(*document->root, {"kind"});
  if (kind != absl::StrCat(resource_.kind, "List")) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", manifest::Quote(kind), " instead of a ", resource_.kind, "List"));
  }
  const Value* items = document->root->Find("items");
  if (items != nullptr && items->kind != Value::Kind::kNull &&
      (items->kind != Value::Kind::kList || !items->items.empty())) {
    return absl::InvalidArgumentError("a page whose items are no list");
  }
  PageEnd end{.resource_version = TextOf(*document->root, {"metadata", "resourceVersion"}),
              .continue_token = TextOf(*document->root, {"metadata", "continue"})};
  if (end.resource_version.empty()) {
    return absl::InvalidArgumentError("a page without a resourceVersion");
  }
  return end;
}

}  // namespace fairlead::kubernetes

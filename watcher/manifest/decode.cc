#include "watcher/manifest/decode.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "watcher/manifest/parse.h"

namespace fairlead::manifest {
namespace {

struct KindEntry {
  const char* api_version;
  const char* kind;
  ManifestKind value;
};

constexpr KindEntry kKinds[] = {
    {"v1", "Service", ManifestKind::kService},
    {"discovery.k8s.io/v1", "EndpointSlice", ManifestKind::kEndpointSlice},
    {"v1", "Pod", ManifestKind::kPod},
    {"v1", "Node", ManifestKind::kNode},
};

const KindEntry* FindKind(absl::string_view api_version, absl::string_view kind) {
  for (const KindEntry& entry : kKinds) {
    if (entry.api_version == api_version && entry.kind == kind) return &entry;
  }
  return nullptr;
}

template <typename T>
std::shared_ptr<const T> Share(T value) {
  return std::make_shared<const T>(std::move(value));
}

// Decodes the objects of one file, one after the other.
class FileDecoder {
 public:
  explicit FileDecoder(const std::string& file) : file_(file) {}

  // `list_kind` and `list_version` are those of the items of a typed list, which need not repeat
  // them.
  void DecodeTop(const Value& value, absl::string_view list_kind, absl::string_view list_version,
                 int list_nesting);

  void AddFault(const ParseFault& fault) {
    decoded_.has_unknown = true;
    decoded_.problems.push_back({Severity::kError, file_, fault.line, "", "", fault.message});
  }

  DecodedFile Take() { return std::move(decoded_); }

 private:
  void DecodeList(const Field& object, absl::string_view kind, absl::string_view version,
                  int list_nesting);
  void DecodeObject(const Value& value, const KindEntry& kind);
  void AddProblems(Findings* findings) {
    for (Problem& problem : findings->Take()) decoded_.problems.push_back(std::move(problem));
  }

  const std::string& file_;
  DecodedFile decoded_;
  bool full_ = false;
};

void FileDecoder::DecodeTop(const Value& value, absl::string_view list_kind,
                            absl::string_view list_version, int list_nesting) {
  if (value.kind == Value::Kind::kNull) return;
  if (value.kind != Value::Kind::kMap) {
    AddFault({value.line, absl::StrCat("is ", DescribeValue(value), ", not a Kubernetes object")});
    return;
  }
  Findings findings(file_);
  const Field object(&value, &findings);
  const Field kind_field = object.Get("kind");
  const Field version_field = object.Get("apiVersion");
  const std::optional<std::string> kind = kind_field.String();
  const std::optional<std::string> version = version_field.String();
  const bool kind_missing = !kind.has_value() && list_kind.empty();
  if (kind_missing && !kind_field.present()) {
    // Helm's values and the like lie about in such folders; an object without its kind is a
    // mistake.
    if (!version_field.present() && !object.Get("metadata").present()) return;
    kind_field.Error("is missing");
  } else if (!version.has_value() && !version_field.present() && list_version.empty()) {
    version_field.Error("is missing");
  }
  if (findings.failed()) {
    decoded_.has_unknown = true;
    return AddProblems(&findings);
  }
  const absl::string_view kind_text = kind.has_value() ? *kind : list_kind;
  const absl::string_view version_text = version.has_value() ? *version : list_version;
  if (const KindEntry* entry = FindKind(version_text, kind_text)) {
    DecodeObject(value, *entry);
  } else if (absl::EndsWith(kind_text, "List") && object.Get("items").present()) {
    DecodeList(object, kind_text, version_text, list_nesting);
    if (findings.failed()) decoded_.has_unknown = true;
    AddProblems(&findings);
  }
}

void FileDecoder::DecodeList(const Field& object, absl::string_view kind, absl::string_view version,
                             int list_nesting) {
  const Field items = object.Get("items");
  if (list_nesting >= kMaxListNesting) {
    return items.Error(absl::StrCat("lists are nested more than ", kMaxListNesting, " deep"));
  }
  const absl::string_view item_kind = absl::StripSuffix(kind, "List");
  const std::vector<Field> fields = items.Items();
  if (fields.empty()) return;
  for (const Field& item : fields) {
    DecodeTop(item.value(), item_kind, item_kind.empty() ? "" : version, list_nesting + 1);
  }
}

void FileDecoder::DecodeObject(const Value& value, const KindEntry& kind) {
  if (decoded_.objects.size() + decoded_.invalid.size() >= kMaxObjects) {
    if (!full_) AddFault({value.line, absl::StrCat("holds more than ", kMaxObjects, " objects")});
    full_ = true;
    return;
  }
  Findings findings(file_);
  const Field object(&value, &findings);
  object.IsMap();
  const Metadata metadata = DecodeMetadata(object, kind.value);
  const ManifestKey key{kind.value, metadata.name};
  findings.set_object(key.Format());
  ManifestObject decoded{.key = key, .file = file_, .line = value.line};
  std::optional<ObjectName> service;
  bool passed_over = false;
  switch (kind.value) {
    case ManifestKind::kService:
      decoded.value = Share(DecodeService(object, metadata));
      break;
    case ManifestKind::kEndpointSlice:
      if (auto slice = DecodeEndpointSlice(object, metadata)) {
        service = slice->service();
        decoded.value = Share(*std::move(slice));
      } else {
        passed_over = true;
      }
      break;
    case ManifestKind::kPod:
      decoded.value = Share(DecodePod(object, metadata));
      break;
    case ManifestKind::kNode:
      decoded.value = Share(DecodeNode(object, metadata));
      break;
  }
  if (findings.failed()) {
    if (key.name.name.empty()) decoded_.has_unknown = true;
    decoded_.invalid.push_back({key, std::move(service), findings.Take()});
    return;
  }
  AddProblems(&findings);
  if (!passed_over) decoded_.objects.push_back(std::move(decoded));
}

}  // namespace

absl::string_view FormatManifestKind(ManifestKind kind) {
  for (const KindEntry& entry : kKinds) {
    if (entry.value == kind) return entry.kind;
  }
  return "object";
}

std::string ManifestKey::Format() const {
  const absl::string_view kind_text = FormatManifestKind(kind);
  if (name.name.empty()) return absl::StrCat(kind_text, " without a valid name");
  if (kind == ManifestKind::kNode) return absl::StrCat(kind_text, " ", name.name.view());
  return absl::StrCat(kind_text, " ", name.Format());
}

DecodedFile DecodeFile(const std::string& file, absl::string_view text) {
  FileDecoder decoder(file);
  const ParsedText parsed = ParseDocuments(text, /*prefer_json=*/absl::EndsWith(file, ".json"));
  for (const ParseFault& fault : parsed.faults) decoder.AddFault(fault);
  for (const Document& document : parsed.documents) {
    decoder.DecodeTop(*document.root, "", "", 0);
  }
  return decoder.Take();
}

}  // namespace fairlead::manifest

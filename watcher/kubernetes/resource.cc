#include "watcher/kubernetes/resource.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {
namespace {

// RFC 3986: all but the unreserved characters.
std::string PercentEncode(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += c;
    } else {
      absl::StrAppend(&encoded, "%",
                      absl::AsciiStrToUpper(
                          absl::StrCat(absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2))));
    }
  }
  return encoded;
}

// What restricts both lists and watches, each with its '&'.
std::string FormatSelectors(const Resource& resource, const KubernetesSourceOptions& options) {
  if (resource.object_kind == ObjectKind::kNode) {
    if (options.node_name.empty()) return "";
    return absl::StrCat("&fieldSelector=",
                        PercentEncode(absl::StrCat("metadata.name=", options.node_name)));
  }
  if (options.selector.empty()) return "";
  return absl::StrCat("&labelSelector=", PercentEncode(options.selector));
}

}  // namespace

std::string FormatListTarget(const Resource& resource, const KubernetesSourceOptions& options,
                             absl::string_view continue_token) {
  std::string target =
      absl::StrCat(resource.path, "?limit=", options.page_size, FormatSelectors(resource, options));
  if (!continue_token.empty()) {
    absl::StrAppend(&target, "&continue=", PercentEncode(continue_token));
  }
  return target;
}

std::string FormatWatchTarget(const Resource& resource, const KubernetesSourceOptions& options,
                              absl::string_view resource_version, absl::Duration timeout) {
  return absl::StrCat(resource.path, "?watch=true&allowWatchBookmarks=true&timeoutSeconds=",
                      absl::ToInt64Seconds(absl::Ceil(timeout, absl::Seconds(1))),
                      FormatSelectors(resource, options),
                      "&resourceVersion=", PercentEncode(resource_version));
}

}  // namespace fairlead::kubernetes

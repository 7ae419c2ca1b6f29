#include "proxy/cli/version_format.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace fairlead {

std::string ParseIpvsVersion(absl::string_view title) {
  constexpr absl::string_view kBefore = " version ";
  const size_t at = title.find(kBefore);
  if (at == absl::string_view::npos) return "";
  const absl::string_view rest = title.substr(at + kBefore.size());
  return std::string(rest.substr(0, rest.find(' ')));
}

std::string FormatVersionsText(const Versions& versions) {
  std::string text;
  for (const auto& [name, value] :
       std::vector<std::pair<const char*, std::string>>{{"fairlead", versions.program},
                                                        {"protocol", kProtocolVersion},
                                                        {"agent", versions.agent},
                                                        {"kernel", versions.kernel},
                                                        {"ipvs", versions.ipvs}}) {
    absl::StrAppend(&text, name, " ", value.empty() ? "-" : value, "\n");
  }
  return text;
}

std::string FormatVersionsDocument(const Versions& versions, Output output) {
  const auto value = [](const std::string& text) {
    return text.empty() ? Document() : Document(text);
  };
  const Document document = {{"version", value(versions.program)},
                             {"protocol", kProtocolVersion},
                             {"agent", value(versions.agent)},
                             {"kernel", value(versions.kernel)},
                             {"ipvs", value(versions.ipvs)}};
  return FormatDocument(document, output);
}

}  // namespace fairlead

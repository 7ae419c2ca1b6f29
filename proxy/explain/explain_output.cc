#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "proxy/explain/explain.h"

namespace fairlead {

std::string FormatExplanationJson(const Explanation& explanation) {
  nlohmann::ordered_json endpoints = nlohmann::ordered_json::array();
  for (const ipvs::RealServerKey& endpoint : explanation.endpoints) {
    endpoints.push_back(endpoint.Format());
  }
  const nlohmann::ordered_json json = {
      {"verdict", std::string(FormatExplainedVerdict(explanation.verdict))},
      {"service", explanation.service},
      {"endpoints", std::move(endpoints)},
      {"masquerade", explanation.masquerade},
      {"because", explanation.because},
  };
  // Names come from outside: text that is not UTF-8 must not throw.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string FormatExplanationText(const Explanation& explanation) {
  std::string text = std::string(FormatExplainedVerdict(explanation.verdict));
  if (!explanation.service.empty()) absl::StrAppend(&text, " ", explanation.service);
  for (const ipvs::RealServerKey& endpoint : explanation.endpoints) {
    absl::StrAppend(&text, &endpoint == &explanation.endpoints.front() ? " -> " : ", ",
                    endpoint.Format());
  }
  if (explanation.masquerade) absl::StrAppend(&text, ", masqueraded");
  text += "\n";
  for (const std::string& reason : explanation.because) absl::StrAppend(&text, "  ", reason, "\n");
  return text;
}

}  // namespace fairlead

#include "test/metrics/server.h"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace fairlead::lab {
namespace {

constexpr char kAddress[] = "127.0.0.1:9090";

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

}  // namespace

std::string PrometheusProgram(const std::string& name) {
  const char* folder = std::getenv("FAIRLEAD_PROMETHEUS");
  INFO("FAIRLEAD_PROMETHEUS: what test/metrics/prometheus prints");
  REQUIRE(folder != nullptr);
  return absl::StrCat(folder, "/", name);
}

PrometheusServer::PrometheusServer(const NetNamespace& net,
                                   const std::map<std::string, std::string>& targets)
    : net_(net) {
  std::string config = absl::StrCat(
      "global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s}\n"
      "rule_files: [",
      FAIRLEAD_SOURCE_DIR, "/charts/monitoring/rules.yaml]\nscrape_configs:\n");
  for (const auto& [job, address] : targets) {
    absl::StrAppend(&config, "  - job_name: ", job, "\n    static_configs: [{targets: ['", address,
                    "']}]\n");
  }
  folder_.Write("prometheus.yml", config);
  auto started = Process::Start(
      {.words = {PrometheusProgram("prometheus"),
                 absl::StrCat("--config.file=", folder_.Path("prometheus.yml")),
                 absl::StrCat("--storage.tsdb.path=", folder_.Path("data")),
                 absl::StrCat("--web.listen-address=", kAddress), "--log.level=warn"},
       .net = &net});
  INFO(started.status());
  REQUIRE(started.ok());
  process_ = *std::move(started);
}

std::vector<nlohmann::json> PrometheusServer::Query(const std::vector<std::string>& queries,
                                                    std::vector<std::string>& errors) const {
  // One start of curl for all: each takes most of a second on an emulated machine.
  std::string config;
  for (const std::string& query : queries) {
    absl::StrAppend(&config, config.empty() ? "" : "next\n", "silent\nurl = \"http://", kAddress,
                    "/api/v1/query\"\nwrite-out = \"\\n\"\ndata-urlencode = ",
                    Quoted(absl::StrCat("query=", query)), "\n");
  }
  const auto output = Shell(net_, "curl -K -", config, absl::Seconds(120));
  std::vector<nlohmann::json> results;
  if (!output.ok()) {
    errors.push_back(output.status().ToString());
    return results;
  }
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(*output, '\n', absl::SkipEmpty()))) {
    nlohmann::json answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool good = answer.is_object() && answer.value("status", "") == "success";
    if (!good) errors.push_back(absl::StrCat(queries.at(results.size()), ": ", line));
    results.push_back(good ? std::move(answer.at("data").at("result")) : nlohmann::json());
  }
  return results;
}

nlohmann::json PrometheusServer::Query(const std::string& query) const {
  std::vector<std::string> errors;
  std::vector<nlohmann::json> results = Query(std::vector<std::string>{query}, errors);
  return results.empty() || !errors.empty() ? nlohmann::json::array() : results.front();
}

std::map<std::string, std::string> PrometheusServer::RuleHealth() const {
  const auto output = Shell(net_, absl::StrCat("curl -s http://", kAddress, "/api/v1/rules"), {},
                            absl::Seconds(60));
  std::map<std::string, std::string> health;
  const nlohmann::json answer =
      nlohmann::json::parse(output.value_or(""), nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return health;
  for (const nlohmann::json& group : answer.at("data").at("groups")) {
    for (const nlohmann::json& rule : group.at("rules")) {
      const std::string error = rule.value("lastError", "");
      health[rule.at("name")] =
          absl::StrCat(std::string(rule.at("health")), error.empty() ? "" : ": ", error);
    }
  }
  return health;
}

}  // namespace fairlead::lab

// A real Prometheus beside what it scrapes, on its loopback.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "test/kernel/harness.h"
#include "test/lab/net_namespace.h"
#include "test/lab/process.h"

namespace fairlead::lab {

// A program of Prometheus, as the environment names their folder (FAIRLEAD_PROMETHEUS).
std::string PrometheusProgram(const std::string& name);

// Scrapes every two seconds, and evaluates the project's rules as often. Ends with the object.
class PrometheusServer {
 public:
  // Addresses by job. `net` outlives it.
  PrometheusServer(const NetNamespace& net, const std::map<std::string, std::string>& targets);

  // The answers to queries, in their order: /api/v1/query's "data", or null with the message in
  // `errors` where a query is not valid.
  std::vector<nlohmann::json> Query(const std::vector<std::string>& queries,
                                    std::vector<std::string>& errors) const;
  // The result of one; nothing where there is no answer.
  nlohmann::json Query(const std::string& query) const;
  // /api/v1/rules: "ok", "unknown" or "err" and the message, by the rule's name.
  std::map<std::string, std::string> RuleHealth() const;

  std::string Log() const { return process_->Log(); }

 private:
  const NetNamespace& net_;
  Folder folder_;
  std::unique_ptr<Process> process_;
};

}  // namespace fairlead::lab

#include "test/kubernetes/objects.h"

#include "absl/strings/str_cat.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;

json Conditions(bool ready) {
  return json::array({{{"type", "Ready"}, {"status", ready ? "True" : "False"}}});
}

}  // namespace

json ServiceObject(const std::string& name, const json& spec) {
  json service = {
      {"metadata", {{"name", name}}},
      {"spec",
       {{"selector", {{"app", name}}},
        {"ipFamilyPolicy", "PreferDualStack"},
        {"ports",
         json::array(
             {{{"name", "http"}, {"protocol", "TCP"}, {"port", 80}, {"targetPort", 8080}}})}}}};
  if (!spec.is_null()) service["spec"].merge_patch(spec);
  return service;
}

json PodObject(const PodSpec& pod) {
  return {{"metadata", {{"name", pod.name}, {"labels", {{"app", pod.app}}}}},
          {"spec",
           {{"nodeName", pod.node},
            {"containers", json::array({{{"name", "main"}, {"image", "none"}}})}}}};
}

json PodStatus(const PodSpec& pod) {
  json ips = json::array();
  for (const std::string& ip : pod.ips) ips.push_back({{"ip", ip}});
  return {{"status",
           {{"phase", "Running"},
            {"podIP", pod.ips.at(0)},
            {"podIPs", ips},
            {"conditions", Conditions(pod.ready)}}}};
}

absl::Status CreatePod(ApiClient& api, const PodSpec& pod) {
  const absl::Status made = api.Post(kPodsPath, PodObject(pod)).status();
  if (!made.ok()) return made;
  return api.MergePatch(absl::StrCat(kPodsPath, "/", pod.name, "/status"), PodStatus(pod)).status();
}

absl::Status SetPodReady(ApiClient& api, const std::string& name, bool ready) {
  return api
      .MergePatch(absl::StrCat(kPodsPath, "/", name, "/status"),
                  {{"status", {{"conditions", Conditions(ready)}}}})
      .status();
}

json NodeObject(const std::string& name, const std::vector<std::string>& ips,
                const std::string& zone) {
  json addresses = json::array();
  for (const std::string& ip : ips) addresses.push_back({{"type", "InternalIP"}, {"address", ip}});
  return {{"metadata", {{"name", name}, {"labels", {{"topology.kubernetes.io/zone", zone}}}}},
          {"status", {{"addresses", addresses}}}};
}

}  // namespace fairlead::lab

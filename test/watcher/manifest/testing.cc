#include "test/watcher/manifest/testing.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace fairlead::manifest {

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "manifest_test.XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void TemporaryFolder::Write(const std::string& name, const std::string& text) const {
  std::filesystem::create_directories(std::filesystem::path(File(name)).parent_path());
  std::ofstream(File(name), std::ios::binary | std::ios::trunc) << text;
}

void TemporaryFolder::Remove(const std::string& name) const {
  std::filesystem::remove_all(File(name));
}

AllocationRanges DualStackRanges() {
  return {*ParseServiceClusterIpRanges("10.96.0.0/12,fd00::/112"), PortRange()};
}

ManifestOptions OptionsFor(std::vector<std::string> paths) {
  return {.paths = std::move(paths),
          .service_cluster_ip_ranges = *ParseServiceClusterIpRanges(kDefaultServiceClusterIpRange)};
}

Composition ComposeTexts(const std::vector<std::pair<std::string, std::string>>& files,
                         const AllocationRanges& ranges, const Allocations& kept) {
  std::vector<DecodedFile> decoded;
  decoded.reserve(files.size());
  for (const auto& [name, text] : files) decoded.push_back(DecodeFile(name, text));
  std::vector<const DecodedFile*> pointers;
  std::vector<Problem> problems;
  for (const DecodedFile& file : decoded) {
    pointers.push_back(&file);
    problems.insert(problems.end(), file.problems.begin(), file.problems.end());
    for (const InvalidObject& object : file.invalid) {
      problems.insert(problems.end(), object.problems.begin(), object.problems.end());
    }
  }
  Composition composition = Compose(pointers, kept, /*may_be_more=*/false, ranges);
  composition.problems.insert(composition.problems.begin(), problems.begin(), problems.end());
  return composition;
}

Composition ComposeText(const std::string& text) {
  return ComposeTexts({{"test.yaml", text}}, DualStackRanges());
}

std::string ServiceYaml(const std::string& name, const std::string& more_spec) {
  return absl::StrCat(
      "---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
      "}\nspec:\n  selector: {app: ", name, "}\n",
      more_spec.find("ports:") == std::string::npos ? "  ports: [{port: 80}]\n" : "", more_spec,
      "\n");
}

std::string PodYaml(const std::string& name, const std::string& app, const std::string& ip,
                    const std::string& more_spec) {
  return absl::StrCat("---\napiVersion: v1\nkind: Pod\nmetadata: {name: ", name,
                      ", labels: {app: ", app, "}}\nspec:\n  nodeName: n1\n", more_spec,
                      "\nstatus: {phase: Running, podIP: \"", ip, "\"}\n");
}

std::shared_ptr<const Service> FindService(const Picture& picture, const std::string& name) {
  const auto it = picture.find({ObjectKind::kService, {"default", name}});
  return it == picture.end() ? nullptr : std::get<std::shared_ptr<const Service>>(it->second);
}

std::vector<std::shared_ptr<const EndpointSlice>> FindSlices(const Picture& picture,
                                                             const std::string& service) {
  std::vector<std::shared_ptr<const EndpointSlice>> slices;
  for (const auto& [id, object] : picture) {
    if (id.kind != ObjectKind::kEndpointSlice) continue;
    const auto& slice = std::get<std::shared_ptr<const EndpointSlice>>(object);
    if (slice->service_name == service) slices.push_back(slice);
  }
  return slices;
}

std::vector<std::string> FormatProblems(const std::vector<Problem>& problems) {
  std::vector<std::string> texts;
  texts.reserve(problems.size());
  for (const Problem& problem : problems) texts.push_back(problem.Format());
  return texts;
}

}  // namespace fairlead::manifest

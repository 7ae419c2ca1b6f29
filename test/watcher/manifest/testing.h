// What the tests of the manifests share.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "watcher/manifest/compose.h"
#include "watcher/manifest/decode.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead::manifest {

// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // Writes the file in one go; creates its folder.
  void Write(const std::string& name, const std::string& text) const;
  void Remove(const std::string& name) const;

 private:
  std::string path_;
};

// 10.96.0.0/12, fd00::/112 and the default node ports.
AllocationRanges DualStackRanges();
ManifestOptions OptionsFor(std::vector<std::string> paths);

// Texts of files by name, composed with nothing known from before.
Composition ComposeTexts(const std::vector<std::pair<std::string, std::string>>& files,
                         const AllocationRanges& ranges, const Allocations& kept = {});
Composition ComposeText(const std::string& text);

// A Service of type ClusterIP with port 80 and selector app=<name>, with more lines for its spec.
std::string ServiceYaml(const std::string& name, const std::string& more_spec = "");
// A running Pod with label app=<app>, with more lines below spec.
std::string PodYaml(const std::string& name, const std::string& app, const std::string& ip,
                    const std::string& more_spec = "");

// nullptr where the picture has none; the namespace is "default".
std::shared_ptr<const Service> FindService(const Picture& picture, const std::string& name);
std::vector<std::shared_ptr<const EndpointSlice>> FindSlices(const Picture& picture,
                                                             const std::string& service);

// What FormatProblems says where there are none.
inline const std::vector<std::string> kNoProblems;
std::vector<std::string> FormatProblems(const std::vector<Problem>& problems);

}  // namespace fairlead::manifest

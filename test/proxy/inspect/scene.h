// What an agent wants, and a kernel that has exactly that.
#pragma once

#include <memory>
#include <vector>

#include "memory_kernel.h"
#include "proxy/inspect/difference.h"

namespace fairlead::testing {

struct Scene {
  explicit Scene(const std::vector<std::shared_ptr<const ServicePlan>>& plans);

  // The virtual server in the kernel; it is there.
  ipvs::VirtualServer& Server(const ipvs::VirtualServerKey& key);
  // Its real server at the address.
  ipvs::RealServer& Real(const ipvs::VirtualServerKey& key, absl::string_view address);
  // What the kernel has beside it, in order.
  void AddReal(const ipvs::VirtualServerKey& key, absl::string_view address, int32_t weight);
  void AddServer(const ipvs::VirtualServerKey& key, const Lines& pods, int32_t weight = 1);
  void AddElement(const Element& element);
  void AddRoute(const VipRoute& route);

  // "KIND OBJECT (SERVICE)", then a line "-…" for each that is wanted and "+…" for each found.
  Lines Compare() const;

  DesiredState desired;
  WantedState wanted;
  KernelState kernel;
};

Lines Format(const std::vector<Difference>& differences);

}  // namespace fairlead::testing

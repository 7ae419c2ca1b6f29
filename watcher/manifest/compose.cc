#include "watcher/manifest/compose.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "watcher/manifest/endpoints.h"

namespace fairlead::manifest {
namespace {

using Objects = std::map<ManifestKey, const ManifestObject*>;

// One object for each key.
Objects SelectObjects(const std::vector<const DecodedFile*>& files,
                      std::vector<Problem>* problems) {
  Objects objects;
  for (const DecodedFile* file : files) {
    for (const ManifestObject& object : file->objects) {
      auto [it, inserted] = objects.emplace(object.key, &object);
      if (inserted || object.stale) continue;
      const ManifestObject& other = *it->second;
      if (other.stale) {
        it->second = &object;
        continue;
      }
      problems->push_back({Severity::kError, object.file, object.line, object.key.Format(),
                           "metadata.name",
                           absl::StrCat("is there twice: the one in ", other.file, ":", other.line,
                                        " is used, this one is left out")});
    }
  }
  return objects;
}

// The Services that EndpointSlices name, invalid ones too: what they would say is not to be
// replaced by a guess.
std::set<ObjectName> FindSlicedServices(const std::vector<const DecodedFile*>& files) {
  std::set<ObjectName> services;
  for (const DecodedFile* file : files) {
    for (const ManifestObject& object : file->objects) {
      if (object.key.kind != ManifestKind::kEndpointSlice) continue;
      services.insert(object.As<EndpointSlice>().service());
    }
    for (const InvalidObject& object : file->invalid) {
      if (object.service.has_value()) services.insert(*object.service);
    }
  }
  return services;
}

AbsentServices FindAbsentServices(const std::vector<const DecodedFile*>& files, bool may_be_more) {
  AbsentServices absent{.all = may_be_more};
  for (const DecodedFile* file : files) {
    for (const InvalidObject& object : file->invalid) {
      if (object.key.kind == ManifestKind::kService) absent.names.insert(object.key.name);
    }
  }
  return absent;
}

void AddToPicture(Object object, Picture* picture) {
  const ObjectId id = IdOf(object);
  picture->emplace(id, std::move(object));
}

// External and load-balancer addresses that an older Service has with the same port: the planner
// leaves them to that one, and whoever wrote the manifest wants to know.
void FindSharedAddresses(const Objects& objects, const std::map<ObjectName, Service>& services,
                         std::vector<Problem>* problems) {
  using Listener = std::tuple<IpAddress, uint16_t, ipvs::Protocol>;
  std::map<Listener, const Service*> owners;
  std::vector<const Service*> by_age;
  by_age.reserve(services.size());
  for (const auto& [name, service] : services) by_age.push_back(&service);
  std::stable_sort(by_age.begin(), by_age.end(),
                   [](const Service* a, const Service* b) { return a->created < b->created; });
  for (const Service* service : by_age) {
    for (const IpAddress& address : service->cluster_ips) {
      for (const ServicePort& port : service->ports) {
        owners.emplace(Listener{address, port.port, port.protocol}, service);
      }
    }
  }
  const auto check = [&](const Service& service, const std::vector<IpAddress>& addresses,
                         const char* field) {
    for (const IpAddress& address : addresses) {
      for (const ServicePort& port : service.ports) {
        const Service* owner =
            owners.emplace(Listener{address, port.port, port.protocol}, &service).first->second;
        if (owner == &service) continue;
        const ManifestObject& object = *objects.at({ManifestKind::kService, service.name});
        problems->push_back(
            {Severity::kWarning, object.file, object.line, object.key.Format(), field,
             absl::StrCat(FormatAddressPort(address, port.port), "/",
                          ipvs::FormatProtocol(port.protocol), " belongs to Service ",
                          owner->name.Format(), ": ignored")});
      }
    }
  };
  for (const Service* service : by_age) {
    check(*service, service->external_ips, "spec.externalIPs");
    check(*service, service->load_balancer_ips, "status.loadBalancer.ingress");
  }
}

}  // namespace

Composition Compose(const std::vector<const DecodedFile*>& files, const Allocations& kept,
                    bool may_be_more, const AllocationRanges& ranges) {
  Composition result;
  const Objects objects = SelectObjects(files, &result.problems);
  std::vector<const ManifestObject*> services;
  PodIndex pods;
  NodeZones zones;
  for (const auto& [key, object] : objects) {
    switch (key.kind) {
      case ManifestKind::kService:
        services.push_back(object);
        break;
      case ManifestKind::kEndpointSlice:
        AddToPicture(std::get<std::shared_ptr<const EndpointSlice>>(object->value),
                     &result.picture);
        break;
      case ManifestKind::kPod:
        pods.Add(object->As<PodManifest>());
        break;
      case ManifestKind::kNode:
        AddToPicture(std::get<std::shared_ptr<const Node>>(object->value), &result.picture);
        zones[key.name.name.str()] = object->As<Node>().zone;
        break;
    }
  }
  AllocationResult allocated =
      AllocateServices(services, kept, FindAbsentServices(files, may_be_more), ranges);
  for (Problem& problem : allocated.problems) result.problems.push_back(std::move(problem));
  result.allocations = std::move(allocated.allocations);
  FindSharedAddresses(objects, allocated.services, &result.problems);
  const std::set<ObjectName> sliced = FindSlicedServices(files);
  for (auto& [name, service] : allocated.services) {
    const ManifestObject& object = *objects.at({ManifestKind::kService, name});
    if (sliced.count(name) == 0) {
      for (EndpointSlice& slice :
           MakeEndpointSlices(object, service, pods, zones, &result.problems)) {
        // A slice of that name may be there, of another Service.
        while (result.picture.count({ObjectKind::kEndpointSlice, slice.name}) > 0) {
          slice.name.name = slice.name.name.str() + "x";
        }
        AddToPicture(std::make_shared<const EndpointSlice>(std::move(slice)), &result.picture);
      }
    }
    AddToPicture(std::make_shared<const Service>(std::move(service)), &result.picture);
  }
  return result;
}

}  // namespace fairlead::manifest

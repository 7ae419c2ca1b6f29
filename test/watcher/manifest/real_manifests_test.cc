// Manifests as people publish them.
#include <catch2/catch.hpp>
#include <filesystem>
#include <iostream>

#include "test/watcher/manifest/testing.h"

namespace fairlead {
namespace {

TEST_CASE("published manifests are read without a problem") {
  struct Case {
    const char* file;
    std::vector<std::string> services;
    std::vector<std::string> with_node_port;
  };
  const Case cases[] = {
      {"guestbook.yaml", {"frontend", "redis-master", "redis-replica"}, {"frontend"}},
      {"online-boutique.yaml",
       {"adservice", "cartservice", "checkoutservice", "currencyservice", "emailservice",
        "frontend", "frontend-external", "paymentservice", "productcatalogservice",
        "recommendationservice", "redis-cart", "shippingservice"},
       {"frontend-external"}},
  };
  for (const Case& c : cases) {
    INFO(c.file);
    const std::string path = std::string(FAIRLEAD_SHARED_MANIFESTS) + "/" + c.file;
    if (!std::filesystem::exists(path)) {
      std::cerr << "SKIPPED: " << path << " is not there\n";
      SUCCEED();
      continue;
    }
    const Reading reading = ManifestReader(manifest::OptionsFor({path})).Read();
    CHECK(manifest::FormatProblems(reading.problems) == manifest::kNoProblems);
    CHECK(reading.complete);
    std::vector<std::string> services;
    std::vector<std::string> with_node_port;
    for (const auto& [id, object] : reading.picture) {
      const Service& service = *std::get<std::shared_ptr<const Service>>(object);
      services.push_back(id.name.name.str());
      CHECK(service.cluster_ips.size() == 1);
      if (service.ports.at(0).node_port != 0) with_node_port.push_back(id.name.name.str());
    }
    CHECK(services == c.services);
    CHECK(with_node_port == c.with_node_port);
  }
}

}  // namespace
}  // namespace fairlead

#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <iostream>

#include "network_namespace.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  if (!fairlead::CanUseNetworkNamespaces()) {
    std::cerr << "SKIPPED: these tests need root and network namespaces.\n";
    return kSkipped;
  }
  return Catch::Session().run(argc, argv);
}

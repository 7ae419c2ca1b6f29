// Differences between plan and kernel as text and JSON.
#pragma once

#include <string>
#include <vector>

#include "fairlead/v1/inspect.pb.h"

namespace fairlead {

// As `diff -u plan kernel`: what is planned and not in the kernel with "-", what is in the kernel
// and not planned with "+". A hunk for each virtual server, set, route or setting says in its first
// line which it is and for which Service:
//
//   --- plan
//   +++ kernel
//   @@ TCP 10.96.0.1:80, Service shop/cart:http @@
//    -A -t 10.96.0.1:80 -s rr
//   --a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1
//   +-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7
//
// Lines are those of `ipvsadm --save -n`, with -x and -y where a real server has limits; of nft and
// `ip route`; "name = value" for sysctls. Empty where nothing differs.
std::string FormatDiffUnified(const std::vector<v1::Difference>& differences);

// {"equal", "counts": {"virtual_server": 1, …, of each kind that differs}, "differences": [{"kind",
//   "object", "service" (empty: of no single one), "wanted": [lines], "found": [lines]}]}, indented
// by two spaces.
std::string FormatDiffJson(const std::vector<v1::Difference>& differences);

}  // namespace fairlead

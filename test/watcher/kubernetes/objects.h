// The API's JSON for tests, and what a journal holds in words.
#pragma once

#include <string>
#include <vector>

#include "watcher/feed/journal.h"

namespace fairlead::kubernetes {

// A Service of namespace "shop" at 10.96.0.<host>, port 80.
std::string ServiceJson(const std::string& name, int host, const std::string& version = "5",
                        const std::string& more_spec = "");
// A slice of Service shop/cart with one endpoint 10.1.0.<host>; an empty time is none.
std::string SliceJson(const std::string& name, int host, const std::string& version = "5",
                      const std::string& trigger_time = "");
std::string NodeJson(const std::string& name, int host, const std::string& version = "5");

std::string Added(const std::string& object);
std::string Modified(const std::string& object);
std::string Deleted(const std::string& object);
std::string Bookmark(const std::string& kind, const std::string& version);
// An event that ends a watch.
std::string Error(int code, const std::string& message);
// A v1 Status.
std::string StatusJson(int code, const std::string& message);

// What is in the journal for node n1, by id: "Service shop/cart 10.96.0.1", "Node n1 192.0.2.1".
std::vector<std::string> Contents(const Journal& journal);
// The same in the order of revisions, removals and times of change included:
// "4 -Service shop/cart @2026-01-01T00:00:00Z", without the last part where it is not known.
std::vector<std::string> Changes(const Journal& journal);

}  // namespace fairlead::kubernetes

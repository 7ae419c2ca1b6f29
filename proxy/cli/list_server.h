// A virtual server in words: what all commands that show one have in common.
#pragma once

#include <string>
#include <vector>

#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/output.h"
#include "proxy/cli/table.h"

namespace fairlead {

// "10.96.0.1", and "10.96.0.1:80" or "[fd00::1]:80"; "?" for bytes that are none.
std::string FormatBytesAddress(const std::string& bytes);
std::string FormatBytesAddressPort(const std::string& bytes, uint32_t port);

// "shop/cart:http", "shop/cart"; empty where no Service has it.
std::string FormatServicePort(const v1::VirtualServer& server);
// The Pod, or "on n1" where its name is not known; with "(draining)".
std::string FormatTarget(const v1::RealServer& real);

// "TCP  10.96.0.1:80", "FWM  7 IPv6": as ipvsadm begins its lines.
std::string FormatServerTitle(const v1::VirtualServer& server);
// "  -> 10.244.1.2:8080             ", ditto.
std::string FormatRealServerTitle(const v1::RealServer& real);

// `line`, and `name` behind `column` characters where there is one, and a newline.
std::string WithName(std::string line, const std::string& name, int column);

// The fields of a document by which a virtual server is known: "protocol", "address", "port",
// "firewallMark", "family".
void AddKeyFields(const v1::VirtualServer& server, Document& out);
// "service", "portName", "kind".
void AddNameFields(const v1::VirtualServer& server, Document& out);

// NAMESPACE SERVICE PORT KIND ADDRESS PROTO.
std::vector<Column> ServerColumns();
std::vector<Cell> ServerCells(const v1::VirtualServer& server);
// By state: what drains or ends is a warning.
Cell StateCell(const v1::RealServer& real);

}  // namespace fairlead

#include "kube_proxy_state.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fairlead::testing {
namespace {

// $P is the prefix of ipsets, $LO the loopback range, $VIP an address, $F the family of sets.
std::string Fill(const char* text, bool ipv6) {
  return absl::StrReplaceAll(text, {{"$P", ipv6 ? "KUBE-6-" : "KUBE-"},
                                    {"$LO", ipv6 ? "::1/128" : "127.0.0.0/8"},
                                    {"$VIP", ipv6 ? "fd00:96::1" : "10.96.0.1"},
                                    {"$POD", ipv6 ? "fd44:1::2" : "10.244.1.2"},
                                    {"$DNAT", ipv6 ? "[fd44:1::2]:8080" : "10.244.1.2:8080"},
                                    {"$BITS", ipv6 ? "128" : "32"},
                                    {"$F", ipv6 ? "inet6" : "inet"}});
}

constexpr char kIpsets[] = R"(create $PLOOP-BACK hash:ip,port,ip family $F
add $PLOOP-BACK $POD,tcp:8080,$POD
create $PCLUSTER-IP hash:ip,port family $F
add $PCLUSTER-IP $VIP,tcp:80
create $PEXTERNAL-IP hash:ip,port family $F
create $PEXTERNAL-IP-LOCAL hash:ip,port family $F
create $PLOAD-BALANCER hash:ip,port family $F
create $PNODE-PORT-TCP bitmap:port range 0-65535
add $PNODE-PORT-TCP 30080
create $PHEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
create $PIPVS-IPS hash:ip family $F
add $PIPVS-IPS $VIP
)";

constexpr char kIpvsRules[] = R"(*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-MARK-MASQ - [0:0]
-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -s $LO -j RETURN
-A KUBE-SERVICES -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set $PCLUSTER-IP src,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set $PCLUSTER-IP dst,dst -j ACCEPT
-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set $PNODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" -m set --match-set $PLOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SOURCE-RANGES-FIREWALL - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-I INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-I FORWARD -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-I INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-I OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
-A KUBE-SOURCE-RANGES-FIREWALL -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-NODE-PORT -m comment --comment "Kubernetes health check node port" -m set --match-set $PHEALTH-CHECK-NODE-PORT dst -j ACCEPT
-A KUBE-IPVS-FILTER -m set --match-set $PLOAD-BALANCER dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set $PCLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set $PEXTERNAL-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set $PEXTERNAL-IP-LOCAL dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set $PIPVS-IPS dst -j REJECT
COMMIT
)";

constexpr char kIptablesRules[] = R"(*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-Y3ODGIYXDJVDZDTH - [0:0]
:KUBE-EXT-NPX46M4PTMTKRN6Y - [0:0]
-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -m comment --comment "default/web:http cluster IP" -p tcp -m tcp -d $VIP/$BITS --dport 80 -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -m comment --comment "default/web:http" -p tcp -m tcp --dport 30080 -j KUBE-EXT-NPX46M4PTMTKRN6Y
-A KUBE-EXT-NPX46M4PTMTKRN6Y -j KUBE-MARK-MASQ
-A KUBE-EXT-NPX46M4PTMTKRN6Y -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SVC-NPX46M4PTMTKRN6Y -m comment --comment "default/web:http -> $DNAT" -j KUBE-SEP-Y3ODGIYXDJVDZDTH
-A KUBE-SEP-Y3ODGIYXDJVDZDTH -s $POD/$BITS -j KUBE-MARK-MASQ
-A KUBE-SEP-Y3ODGIYXDJVDZDTH -p tcp -m tcp -j DNAT --to-destination $DNAT
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
COMMIT
*filter
:KUBE-PROXY-CANARY - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-FW-NPX46M4PTMTKRN6Y - [0:0]
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A KUBE-PROXY-FIREWALL -m comment --comment "default/web:http traffic not accepted by KUBE-FW-NPX46M4PTMTKRN6Y" -p tcp -m tcp -d $VIP/$BITS --dport 80 -j KUBE-FW-NPX46M4PTMTKRN6Y
-A KUBE-FW-NPX46M4PTMTKRN6Y -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
)";

constexpr char kOthersRules[] = R"(*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A PREROUTING -m mark --mark 0x7 -j ACCEPT
COMMIT
*raw
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-DROP - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -o docker0 -j ACCEPT
-A DOCKER -m comment --comment "not -j \"KUBE-SERVICES\"" -j RETURN
-A KUBE-MARK-DROP -j MARK --or-mark 0x8000
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:DOCKER-USER - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -j KUBE-ROUTER-INPUT
-A OUTPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j DOCKER-USER
-A KUBE-FIREWALL ! -s $LO -d $LO -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
)";

constexpr char kNftTable[] = R"(add table $T kube-proxy { comment "rules for kube-proxy"; }
add map $T kube-proxy service-ips { type $A . inet_proto . inet_service : verdict ; }
add set $T kube-proxy cluster-ips { type $A ; }
add element $T kube-proxy cluster-ips { $VIP }
add chain $T kube-proxy service-2QRHZV4L-default/web/tcp/http
add chain $T kube-proxy services
add chain $T kube-proxy nat-prerouting { type nat hook prerouting priority -100; }
add rule $T kube-proxy nat-prerouting jump services
add rule $T kube-proxy services $T daddr . meta l4proto . th dport vmap @service-ips
add element $T kube-proxy service-ips { $VIP . tcp . 80 : goto service-2QRHZV4L-default/web/tcp/http }
)";

}  // namespace

std::string KubeProxyIpsetText(bool ipv6) { return Fill(kIpsets, ipv6); }
std::string KubeProxyIpvsRules(bool ipv6) { return Fill(kIpvsRules, ipv6); }
std::string KubeProxyIptablesRules(bool ipv6) { return Fill(kIptablesRules, ipv6); }
std::string OthersRules(bool ipv6) { return Fill(kOthersRules, ipv6); }

std::string KubeProxyNftTables() {
  return absl::StrCat(
      absl::StrReplaceAll(Fill(kNftTable, false), {{"$T", "ip"}, {"$A", "ipv4_addr"}}),
      absl::StrReplaceAll(Fill(kNftTable, true), {{"$T", "ip6"}, {"$A", "ipv6_addr"}}));
}

std::string OthersNftTables() {
  return "add table inet kube-proxy\n"
         "add chain inet kube-proxy KUBE-SERVICES { type filter hook input priority 5; }\n"
         "add rule inet kube-proxy KUBE-SERVICES counter\n"
         "add table ip kube-proxy-mine\n"
         "add set ip kube-proxy-mine s { type ipv4_addr; elements = { 192.0.2.7 }; }\n";
}

}  // namespace fairlead::testing

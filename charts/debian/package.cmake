# The Debian package, by `cpack -G DEB` in the build folder: the program, its manual and completion,
# the units, what is read about it. docs/install.md says what installing and removing it does,
# test/package/run tests that.

set(FAIRLEAD_PACKAGE_CONTACT "Fairlead <fairlead@example.com>" CACHE STRING
  "Who maintains the Debian package: NAME <MAIL>")
# Packing builds nothing, least of all the tests: `ninja fairlead` comes first.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(debian ${CMAKE_CURRENT_LIST_DIR})
# Absolute, as the units name them; DESTDIR goes before them.
set(doc /usr/share/doc/fairlead)

install(TARGETS fairlead RUNTIME DESTINATION /usr/bin)
install(FILES charts/systemd/fairlead-proxy.service charts/systemd/fairlead-watcher.service
  DESTINATION /lib/systemd/system)
foreach(name proxy watcher)
  install(FILES charts/systemd/fairlead-${name}.default
    DESTINATION /etc/default RENAME fairlead-${name})
endforeach()
# Of kubeconfigs, certificates, keys.
install(DIRECTORY DESTINATION /etc/fairlead
  DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
install(FILES README.md ARCHITECTURE.md ${debian}/copyright DESTINATION ${doc})
install(DIRECTORY docs DESTINATION ${doc} FILES_MATCHING PATTERN "*.md" PATTERN "*.svg")
# What the program says of itself, once it is built.
set(said ${CMAKE_CURRENT_BINARY_DIR}/said)
install(CODE "
  set(fairlead \"$<TARGET_FILE:fairlead>\")
  file(REMOVE_RECURSE \"${said}\")
  file(MAKE_DIRECTORY \"${said}/man1\")
  execute_process(COMMAND \"\${fairlead}\" man --directory \"${said}/man1\"
    COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB pages \"${said}/man1/*.1\")
  execute_process(COMMAND gzip -9n \${pages} COMMAND_ERROR_IS_FATAL ANY)
  foreach(shell bash zsh fish)
    execute_process(COMMAND \"\${fairlead}\" completion \${shell}
      OUTPUT_FILE \"${said}/\${shell}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
")
install(DIRECTORY ${said}/man1 DESTINATION /usr/share/man)
# Each where its shell looks by itself.
install(FILES ${said}/bash DESTINATION /usr/share/bash-completion/completions RENAME fairlead)
install(FILES ${said}/zsh DESTINATION /usr/share/zsh/vendor-completions RENAME _fairlead)
install(FILES ${said}/fish DESTINATION /usr/share/fish/vendor_completions.d RENAME fairlead.fish)
install(FILES ${debian}/lintian-overrides DESTINATION /usr/share/lintian/overrides RENAME fairlead)

# Policy wants it compressed, without a time in it.
set(changelog ${CMAKE_CURRENT_BINARY_DIR}/changelog.gz)
execute_process(COMMAND gzip -9nc ${debian}/changelog OUTPUT_FILE ${changelog}
  COMMAND_ERROR_IS_FATAL ANY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${debian}/changelog)
install(FILES ${changelog} DESTINATION ${doc})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT ${FAIRLEAD_PACKAGE_CONTACT})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "keeps a node's IPVS table in step with Kubernetes Services")
set(CPACK_PACKAGE_DESCRIPTION
"Fairlead programs the kernel's IPVS virtual servers, and the nftables sets and
routes that go with them, from a cluster's Services, EndpointSlices and Nodes,
or from a folder of manifests. It runs as an agent on each node, and where a
cluster is large as a few watchers that feed the agents.")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Beside the libraries: `nft` is run, modprobe by the unit, the others only to clean up after
# kube-proxy.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "nftables, init-system-helpers (>= 1.60)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS kmod)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "ipvsadm, iptables, ipset")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)

# Ubuntu lets programs without rights make user namespaces only where a profile
# says so (kernel.apparmor_restrict_unprivileged_userns). This one says so and
# forbids nothing. Changes of your own belong in /etc/apparmor.d/local/cellblock.
abi <abi/4.0>,

profile cellblock /usr/{bin/cellblock,lib/cellblock/cellblock-{service,warden}} flags=(unconfined) {
  userns,

  include if exists <local/cellblock>
}

/* The generation of this program, for revocation under Secure Boot.
 *
 * A section of its own (.sbat) that shim and others read; nothing of ours uses it. Raise the
 * number of metalcow's line when a flaw lets somebody around Secure Boot, so that older files can
 * be revoked without their hashes. The format is shim's.
 */
extern const char mc_sbat[];

__attribute__((section(".sbat"), used, aligned(1))) const char mc_sbat[] =
    "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim\n"
    "metalcow,1,metalcow,metalcow," METALCOW_VERSION ",\n";

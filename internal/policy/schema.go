package policy

import (
	"slices"
	"strings"
	"sync"
)

// section is a part of the table, as docs/policy.md shows it.
type section struct {
	title  string
	prefix string
	rows   []row
}

// row is the rule of one or more keys. In a key, * is a name that the
// repository chooses, and [] an item of a list.
type row struct {
	keys string
	rule rule
}

// patterns returns the keys of a row in full. A row without keys is for the object that has the
// section's keys.
func (s section) patterns(r row) []string {
	keys := strings.Fields(r.keys)
	if len(keys) == 0 {
		return []string{s.prefix}
	}
	for i := range keys {
		keys[i] = s.prefix + keys[i]
	}
	return keys
}

// schema is the table by key. Only a worker with something to check needs it.
var schema = sync.OnceValue(func() *node { return compile(sections) })

// sections is the table: every key that a model resolved by Compose 2.40 may have. Its order is
// that of docs/policy.md, which a test writes.
var sections = []section{
	{"Top level", "", []row{
		{"name", projectName},
		{"services", totals},
		{"networks", ownNetworks},
		{"volumes", ownVolumes},
		{"version include models", gone},
	}},
	{"Services", "services.*", []row{
		{"", service},
		{".container_name .hostname .image .mac_address", partOf("services.*")},
		{".networks.*.aliases[] .networks.*.ipv4_address .networks.*.ipv6_address .networks.*.link_local_ips[] .networks.*.mac_address", partOf("services.*")},
		{".command[] .entrypoint[] .environment.*", freeText},
		{".init .profiles[] .read_only .stdin_open .tty .user .working_dir .attach .depends_on.*.condition .depends_on.*.required .depends_on.*.restart", harmless},
		{".platform", notRoot(each("platform:", "a platform such as linux/amd64", platform))},
		{".pull_policy", notRoot(each("pull_policy:", "always, never, missing, if_not_present, build, refresh, daily, weekly and every_ with a duration", pullPolicy))},
		{".restart", notRoot(each("restart:", "no, always, unless-stopped and on-failure", restart))},
		{".stop_signal", notRoot(each("stop_signal:", "a signal's name or number", stopSignal))},
		{".stop_grace_period", bounded(bound{entry: "stop_grace_period", measure: durations, most: minutes(10)})},
		{".scale", replicas},
		{".healthcheck.disable", harmless},
		{".healthcheck.test[]", freeText},
		{".healthcheck.interval", bounded(intervalBound)},
		{".healthcheck.start_interval", bounded(startIntervalBound)},
		{".healthcheck.timeout", bounded(bound{entry: "healthcheck.timeout", measure: durations, most: minutes(24 * 60)})},
		{".healthcheck.start_period", bounded(bound{entry: "healthcheck.start_period", measure: durations, most: minutes(24 * 60)})},
		{".healthcheck.retries", bounded(bound{entry: "healthcheck.retries", measure: counts, most: 1000})},
		{".env_file[] .env_file[].path .label_file[]", notRoot(file)},
		{".env_file[].format .env_file[].required", harmless},
		{".extends .pull_refresh_after", gone},
		{".labels.*", labelled},
		{".provider", never("it would run a program on this host")},
		{".models", notRoot(refused("models"))},
		{".use_api_socket", refused(liftEngine)},
	}},
	{"Services: ports and networks", "services.*.", []row{
		{"ports[]", port},
		{"ports[].app_protocol ports[].host_ip ports[].mode ports[].name ports[].target", harmless},
		{"ports[].protocol", notRoot(each("ports.protocol:", "tcp, udp and sctp", func(v string) bool { return slices.Contains([]string{"tcp", "udp", "sctp"}, strings.ToLower(v)) }))},
		{"expose[]", exposed},
		{"ports[].published", partOf("ports[]")},
		{"dns[] dns_opt[] dns_search[]", notRoot(each("dns:", "letters, digits and `.:_-`", resolver))},
		{"domainname links[]", partOf("services.*")},
		{"external_links[]", each("external_links:", "", none)},
		{"extra_hosts[]", notRoot(extraHosts("extra_hosts:"))},
		{"extra_hosts.*", gone},
		{"network_mode", each("network_mode:", "none and service:NAME", ownNetworkMode)},
		{"networks.*.gw_priority networks.*.interface_name networks.*.priority", harmless},
		{"networks.*.driver_opts.*", pair("networks.driver_opts:", "", noPair)},
	}},
	{"Services: files", "services.*.", []row{
		{"volumes[]", notRoot(mountEntry)},
		{"volumes[].type volumes[].source volumes[].read_only", partOf("volumes[]")},
		{"volumes[].target volumes[].consistency", harmless},
		{"volumes[].bind.propagation", notRoot(each("volumes.bind.propagation:", "private and rprivate", oneOf("private", "rprivate")))},
		{"volumes[].bind.create_host_path volumes[].bind.recursive volumes[].bind.selinux", harmless},
		{"volumes[].volume.nocopy volumes[].volume.subpath volumes[].image.subpath volumes[].tmpfs.mode", harmless},
		{"volumes[].tmpfs.size", bounded(tmpfsMount)},
		{"tmpfs[]", tmpfs},
		{"volumes[].volume.labels.*", labelled},
		{"volumes_from[]", notRoot(each("volumes_from:", "a service of the same file", func(v string) bool { return !isContainer(v) }))},
		{"configs[].source configs[].target configs[].uid configs[].gid configs[].mode", harmless},
		{"secrets[].source secrets[].target secrets[].uid secrets[].gid secrets[].mode", harmless},
	}},
	{"Services: the host", "services.*.", []row{
		{"privileged", notRoot(refused(liftPrivileged))},
		{"cap_add[]", notRoot(capabilities)},
		{"cap_drop[]", harmless},
		{"devices[]", notRoot(devices)},
		{"devices[].source devices[].target devices[].permissions", partOf("devices[]")},
		{"device_cgroup_rules[]", notRoot(each("device_cgroup_rules:", "", none))},
		{"gpus", notRoot(refused("gpus"))},
		{"security_opt[]", notRoot(each("security_opt:", "no-new-privileges", oneOf("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")))},
		{"pid", notRoot(each("pid:", "service:NAME", ownOr()))},
		{"ipc", notRoot(each("ipc:", "none, private, shareable and service:NAME", ownOr("none", "private", "shareable")))},
		{"uts", notRoot(each("uts:", "", none))},
		{"userns_mode", notRoot(each("userns_mode:", "", none))},
		{"cgroup", notRoot(each("cgroup:", "private", oneOf("private")))},
		{"cgroup_parent", notRoot(each("cgroup_parent:", "", none))},
		{"runtime", notRoot(each("runtime:", "", none))},
		{"isolation", notRoot(each("isolation:", "default", oneOf("default")))},
		{"sysctls.*", notRoot(pair("sysctls:", "net.*", netSysctl))},
		{"group_add[]", notRoot(each("group_add:", "", none))},
		{"annotations.*", text(notRoot(pair("annotations:", "", noPair)))},
		{"credential_spec", notRoot(refused("credential_spec"))},
		{"storage_opt.*", notRoot(pair("storage_opt:", "", noPair))},
		{"oom_kill_disable", notRoot(refused("oom_kill_disable"))},
		{"oom_score_adj", notRoot(oomScore)},
		{"logging.driver", notRoot(each("logging.driver:", "journald, json-file, local and none", oneOf("journald", "json-file", "local", "none")))},
		{"logging.options.*", notRoot(pair("logging.options:", "those of json-file and local", localLogOption))},
		{"logging.options.tag", notRoot(pair("logging.options:", "text and the fields {{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}} and {{.DaemonName}}, at most 256 bytes", logTag))},
		{"logging.options.env-regex logging.options.labels-regex", notRoot(pair("logging.options:", "a regular expression without {, at most 256 bytes", logRegexp))},
		{"logging.options.mode", notRoot(pair("logging.options:", "blocking and non-blocking", func(_, v string) bool { return v == "blocking" || v == "non-blocking" }))},
		{"logging.options.max-file", bounded(bound{entry: "logging.options.max-file", measure: counts, most: 100})},
		{"logging.options.max-size", bounded(bound{entry: "logging.options.max-size", measure: logSizes, most: 1 << 30, free: "-1"})},
		{"logging.options.max-buffer-size", bounded(bound{entry: "logging.options.max-buffer-size", measure: sizes, most: 16 << 20})},
		{"logging.options.cache-max-size", bounded(bound{entry: "logging.options.cache-max-size", measure: sizes, most: 100 << 20})},
		{"logging.options.cache-max-file", bounded(bound{entry: "logging.options.cache-max-file", measure: counts, most: 20})},
		{"post_start[].privileged pre_start[].privileged pre_stop[].privileged", notRoot(refused("hook.privileged"))},
		{"post_start[].command[] post_start[].environment.*", freeText},
		{"post_start[].user post_start[].working_dir", harmless},
		{"pre_start[].command[] pre_start[].environment.*", freeText},
		{"pre_start[].user pre_start[].working_dir", harmless},
		{"pre_stop[].command[] pre_stop[].environment.*", freeText},
		{"pre_stop[].user pre_stop[].working_dir", harmless},
	}},
	{"Services: resources", "services.*.", []row{
		{"cpu_count cpu_percent cpu_period cpu_quota cpu_shares cpus", harmless},
		{"cpu_rt_period", bounded(bound{entry: "cpu_rt_period", measure: counts, most: 0})},
		{"cpu_rt_runtime", bounded(bound{entry: "cpu_rt_runtime", measure: counts, most: 0})},
		{"cpuset", notRoot(each("cpuset:", "numbers up to 8191 and ranges of them, separated by commas", cpus))},
		{"mem_limit mem_reservation mem_swappiness memswap_limit pids_limit", harmless},
		{"shm_size", bounded(bound{entry: "shm_size", measure: sizes, most: 4 << 30})},
		{"ulimits", ulimits("")},
		{"ulimits.* ulimits.*.hard ulimits.*.soft ulimits.*.single", partOf("ulimits")},
		{"blkio_config.weight blkio_config.weight_device[].path blkio_config.weight_device[].weight", harmless},
		{"blkio_config.device_read_bps[].path blkio_config.device_read_bps[].rate blkio_config.device_read_iops[].path blkio_config.device_read_iops[].rate", harmless},
		{"blkio_config.device_write_bps[].path blkio_config.device_write_bps[].rate blkio_config.device_write_iops[].path blkio_config.device_write_iops[].rate", harmless},
		{"blkio_config.weight_device[].Path blkio_config.device_read_bps[].Path blkio_config.device_read_iops[].Path blkio_config.device_write_bps[].Path blkio_config.device_write_iops[].Path", unreadable},
		{"blkio_config.weight_device[].Weight blkio_config.device_read_bps[].Rate blkio_config.device_read_iops[].Rate blkio_config.device_write_bps[].Rate blkio_config.device_write_iops[].Rate", harmless},
		{"deploy.endpoint_mode deploy.mode", harmless},
		{"deploy.replicas", replicas},
		{"deploy.labels.*", labelled},
		{"deploy.placement.constraints[] deploy.placement.max_replicas_per_node deploy.placement.preferences[].spread", harmless},
		{"deploy.resources.limits.cpus deploy.resources.limits.memory deploy.resources.limits.pids", harmless},
		{"deploy.resources.reservations.cpus deploy.resources.reservations.memory", harmless},
		{"deploy.resources.reservations.generic_resources[].discrete_resource_spec.kind deploy.resources.reservations.generic_resources[].discrete_resource_spec.value", harmless},
		{"deploy.resources.reservations.devices", notRoot(refused("deploy.resources.reservations.devices"))},
		{"deploy.restart_policy.condition deploy.restart_policy.delay deploy.restart_policy.max_attempts deploy.restart_policy.window", harmless},
		{"deploy.rollback_config.delay deploy.rollback_config.failure_action deploy.rollback_config.max_failure_ratio deploy.rollback_config.monitor deploy.rollback_config.order deploy.rollback_config.parallelism", harmless},
		{"deploy.update_config.delay deploy.update_config.failure_action deploy.update_config.max_failure_ratio deploy.update_config.monitor deploy.update_config.order deploy.update_config.parallelism", harmless},
	}},
	{"Services: build", "services.*.build", []row{
		{"", notRoot(build)},
		{".context .dockerfile .secrets[].source .secrets[].target", partOf("build")},
		{".tags[]", partOf("services.*")},
		{".args.* .dockerfile_inline", freeText},
		{".no_cache .provenance .pull .sbom .target", harmless},
		{".platforms[]", notRoot(each("build.platforms:", "a platform such as linux/amd64", platform))},
		{".shm_size", bounded(bound{entry: "build.shm_size", measure: sizes, most: 4 << 30})},
		{".ulimits", ulimits("build.")},
		{".ulimits.* .ulimits.*.hard .ulimits.*.soft .ulimits.*.single", partOf("build.ulimits")},
		{".additional_contexts.*", notRoot(additionalContext)},
		{".cache_from[]", notRoot(cache("build.cache_from:"))},
		{".cache_to[]", notRoot(cache("build.cache_to:"))},
		{".entitlements[]", notRoot(each("build.entitlements:", "", none))},
		{".extra_hosts[]", notRoot(extraHosts("build.extra_hosts:"))},
		{".extra_hosts.*", gone},
		{".isolation", notRoot(each("build.isolation:", "default", oneOf("default")))},
		{".labels.*", labelled},
		{".network", notRoot(each("build.network:", "default and none", oneOf("default", "none")))},
		{".privileged", notRoot(refused("build.privileged"))},
		{".secrets[].uid .secrets[].gid .secrets[].mode", harmless},
		{".ssh", notRoot(refused("build.ssh"))},
	}},
	{"Services: develop, which no operation reads", "services.*.develop.watch[].", []row{
		{"action exec.command[] exec.environment.* exec.privileged exec.user exec.working_dir ignore[] include[] initial_sync path target", freeText},
	}},
	{"Networks", "networks.*", []row{
		{"", network},
		{".name", partOf("networks.*")},
		{".external .internal .enable_ipv4 .enable_ipv6", harmless},
		{".external.name", gone},
		{".attachable", refused("network.attachable")},
		{".driver", each("network.driver:", "bridge", oneOf("bridge"))},
		{".driver_opts.*", pair("network.driver_opts:", "", noPair)},
		{".ipam.driver", each("network.ipam.driver:", "default", oneOf("default"))},
		{".ipam.config[]", pool},
		{".ipam.config[].subnet .ipam.config[].gateway .ipam.config[].ip_range .ipam.config[].aux_addresses.*", partOf("networks.*.ipam.config[]")},
		{".ipam.options.*", pair("network.ipam.options:", "", noPair)},
		{".labels.*", labelled},
	}},
	{"Volumes", "volumes.*.", []row{
		{"name", notRoot(named("volume:"))},
		{"external", harmless},
		{"external.name", gone},
		{"driver", notRoot(each("volume.driver:", "local", oneOf("local")))},
		{"driver_opts", notRoot(driverOptions)},
		{"driver_opts.*", partOf("volumes.*.driver_opts")},
		{"labels.*", labelled},
	}},
	{"Configs", "configs.*.", []row{
		{"name", notRoot(named("config:"))},
		{"file", notRoot(file)},
		{"content", freeText},
		{"environment", variableName},
		{"external", harmless},
		{"external.name", gone},
		{"template_driver", notRoot(each("config.template_driver:", "", none))},
		{"labels.*", labelled},
	}},
	{"Secrets", "secrets.*.", []row{
		{"name", notRoot(named("secret:"))},
		{"file", notRoot(file)},
		{"environment", variableName},
		{"external", harmless},
		{"external.name", gone},
		{"driver", notRoot(each("secret.driver:", "", none))},
		{"driver_opts.*", notRoot(pair("secret.driver_opts:", "", noPair))},
		{"template_driver", notRoot(each("secret.template_driver:", "", none))},
		{"labels.*", labelled},
	}},
}

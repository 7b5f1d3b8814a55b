# The first process of a node: it has processes, mounts and a network of its own, all of which end with it.
# Told by the environment: FOLDER, NODE, LINK (address with prefix), HOST (the other end), PODS (their network),
# CGROUP, RUNTIME, BIN (programs of the cluster), IMAGES (a folder of archives).
set -eu
fail() { echo "node: $*" >&2; exit 1; }

# kubelet shares mounts with containers, within this node
mount --make-rshared /
for folder in /run /var/log /var/lib/cni /var/lib/kubelet; do
    [ -d "$folder" ] || continue
    case $FOLDER/ in "$folder"/*) fail "$FOLDER is hidden below $folder" ;; esac
    mount -t tmpfs tmpfs "$folder"
done
# the kubelet wants these of the whole machine: here it finds them as it wants them, and the machine stays as it is
while read -r name value; do
    [ -e "/proc/sys/$name" ] || continue
    file=/run/sys-$(echo "$name" | tr / -)
    echo "$value" >"$file"
    mount --bind "$file" "/proc/sys/$name"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# whoever started this gives the link its other end
for _ in $(seq 200); do
    ip link show eth0 >/dev/null 2>&1 && break
    sleep 0.05
done
ip link set lo up
ip address add "$LINK" dev eth0
ip link set eth0 up
ip route add default via "$HOST"
echo 1 >/proc/sys/net/ipv4/ip_forward

mkdir -p "$FOLDER/containerd" "$FOLDER/kubelet" "$FOLDER/pods" "$FOLDER/cni" "$FOLDER/trial/a" "$FOLDER/trial/b" \
    "$FOLDER/trial/c" "$FOLDER/trial/d"
snapshotter=native
if mount -t overlay -o "lowerdir=$FOLDER/trial/a,upperdir=$FOLDER/trial/b,workdir=$FOLDER/trial/c" overlay \
    "$FOLDER/trial/d" 2>/dev/null; then
    umount "$FOLDER/trial/d"
    snapshotter=overlayfs
fi

cat >"$FOLDER/containerd.toml" <<END
version = 2
root = "$FOLDER/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "oracle.local/pause:1"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$FOLDER/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$snapshotter"
default_runtime_name = "oracle"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oracle]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oracle.options]
BinaryName = "$RUNTIME"
SystemdCgroup = false
END
cat >"$FOLDER/cni/10-oracle.conflist" <<END
{"cniVersion": "0.4.0", "name": "oracle", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
cat >"$FOLDER/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $FOLDER/../ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: $CGROUP
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
# nobody answers there, but pods want to be told of somebody
clusterDNS: [10.96.0.10]
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
podLogsDir: $FOLDER/pods
resolvConf: $FOLDER/resolv.conf
evictionHard: {imagefs.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", memory.available: 10Mi}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
shutdownGracePeriod: 0s
syncFrequency: 10s
END
cat >"$FOLDER/proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: $FOLDER/../proxy.kubeconfig}
clusterCIDR: $PODS
hostnameOverride: $NODE
healthzBindAddress: 127.0.0.1:10256
# these belong to the whole machine
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
: >"$FOLDER/resolv.conf"

containerd --config "$FOLDER/containerd.toml" >"$FOLDER/containerd.log" 2>&1 &
for _ in $(seq 300); do
    ctr version >/dev/null 2>&1 && break
    kill -0 $! 2>/dev/null || fail "containerd ended: $(tail -n 3 "$FOLDER/containerd.log")"
    sleep 0.1
done
for archive in "$IMAGES"/*.tar; do
    ctr --namespace k8s.io image import --snapshotter "$snapshotter" "$archive" || fail "failed to import $archive"
done

"$BIN/kubelet" --config "$FOLDER/kubelet.yaml" --kubeconfig "$FOLDER/../kubelet.kubeconfig" --root-dir "$FOLDER/kubelet" \
    --hostname-override "$NODE" >"$FOLDER/kubelet.log" 2>&1 &
kubelet=$!
"$BIN/kube-proxy" --config "$FOLDER/proxy.yaml" >"$FOLDER/kube-proxy.log" 2>&1 &
proxy=$!
# the first process of a node collects what others leave; it ends with either of its own
while kill -0 "$kubelet" 2>/dev/null && kill -0 "$proxy" 2>/dev/null; do
    sleep 1 &
    wait $! || true
done
fail "ended: $(tail -n 3 "$FOLDER/kubelet.log" "$FOLDER/kube-proxy.log")"

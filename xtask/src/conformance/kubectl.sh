# Runs one function of kubectl's own scripts against a cluster that runs already.
# $1: the function, without run_ and _tests; $2: a kubeconfig; $3: the cluster's address without https://127.0.0.1:
# The folder it runs in stands for the root of Kubernetes' source.
set -o errexit
set -o nounset
set -o pipefail

source hack/lib/init.sh
source hack/lib/test.sh
source test/cmd/legacy-script.sh

# what they set up is there: only the client's configuration is made, from the one that was handed in
kube::util::ensure-temp-dir
export HOME="${KUBE_TEMP}"
kube::util::ensure-gnu-sed
export CONTEXT=test
mkdir -p "${HOME}/.kube"
cp "$2" "${HOME}/.kube/config"
kubectl config rename-context "$(kubectl config current-context)" "${CONTEXT}"
export KUBE_JUNIT_REPORT_DIR="${KUBE_TEMP}/reports"
SECURE_API_PORT=$3
SUPPORTED_RESOURCES=('*')

# a function whose name does not end as the others do
function run_kubectl_diff_same_names_tests() { run_kubectl_diff_same_names; }

WHAT=$1
status=0
(runTests) || status=$?
rm -rf "${KUBE_TEMP}"
exit "${status}"

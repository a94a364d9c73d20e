"""Kubernetes' own images, by name, wherever they are mirrored.

Two tiers. Sandbox (pause) images are always kept: no list of containers shows them, and without one
no pod can start. The others are kept in their current version only: keeping every version would
fill the disk with one upgrade after the other (KEP-4210's own motivation).

Anybody can give an image such a name under some registry, so size and use limit what it means:
`LARGEST`, and for a pause image also whether containers were made from it (context.py).

Names were gathered from the sources of kubeadm, kubespray, KubeOne, k3s, RKE2, k0s, Talos and
AgentBaker (AKS), from node listings of EKS and GKE, from a metrics vendor's pause filter, and from
Huawei CCE's documentation (`cce-pause`). kubeadm's `imageRepository` puts etcd and coredns right
below the mirror (cmd/kubeadm/app/images), RKE2's and k3s' `system-default-registry` and k0s'
`spec.images.repository` put another host before the whole name.
`library/*` images (nginx, haproxy as node proxies) are left out: anybody uses them.
"""

from __future__ import annotations

import functools
import re

from .reference import Reference

# Bytes as listed: a larger image is somebody's program or data.
LARGEST = 8 << 30
_OWN = ("registry.k8s.io/", "k8s.gcr.io/")  # nobody else can put an image there

# A last path segment that means a sandbox image under any host and path.
_PAUSE = re.compile(
    r"pause(-(amd64|arm|arm64|ppc64le|s390x|win|windows)[\w.-]*)?"
    r"|pause-win\w*|(mirrored|kubelet|cce)-pause|amazon-ecs-pause|origin-pod|pod-infrastructure"
)

# Repository suffixes, anchored at a path boundary: any registry, any mirror prefix.
_ANYWHERE = frozenset(
    """
    kube-apiserver kube-controller-manager kube-scheduler kube-proxy kube-proxy-amd64
    coredns/coredns kubernetes/coredns google_containers/coredns google_containers/etcd
    dns/k8s-dns-node-cache k8s-dns-node-cache metrics-server/metrics-server
    cpa/cluster-proportional-autoscaler autoscaling/cluster-autoscaler kube-vip/kube-vip
    amazon-k8s-cni amazon-k8s-cni-init eks/aws-efa-k8s-device-plugin
    sig-storage/csi-attacher sig-storage/csi-provisioner sig-storage/csi-resizer
    sig-storage/csi-snapshotter sig-storage/csi-node-driver-registrar sig-storage/livenessprobe
    sig-storage/snapshot-controller sig-storage/snapshot-validation-webhook
    sig-storage/local-volume-provisioner sig-storage/csi-external-health-monitor-controller
    provider-aws/aws-ebs-csi-driver provider-aws/cloud-controller-manager
    ebs-csi-driver/aws-ebs-csi-driver cloud-provider-gcp/gcp-compute-persistent-disk-csi-driver
    cloud-provider-gcp/cloud-controller-manager csi-vsphere/driver csi-vsphere/syncer
    cloud-pv-vsphere/cloud-provider-vsphere provider-os/cinder-csi-plugin
    provider-os/openstack-cloud-controller-manager calico/node calico/cni calico/kube-controllers
    calico/typha calico/apiserver calico/pod2daemon-flexvol cilium/cilium cilium/operator
    cilium/operator-generic cilium/cilium-envoy cilium/hubble-relay cilium/hubble-ui
    cilium/hubble-ui-backend cilium/certgen flannel/flannel flannel/flannel-cni-plugin
    flannel-io/flannel flannel-io/flannel-cni-plugin weaveworks/weave-kube weaveworks/weave-npc
    kubeovn/kube-ovn cloudnativelabs/kube-router k8snetworkplumbingwg/multus-cni metallb/speaker
    metallb/controller rancher/coredns-coredns rancher/library-busybox rancher/library-traefik
    rancher/local-path-provisioner rancher/metrics-server rancher/nginx-ingress-controller
    rancher/kube-webhook-certgen rancher/harvester-csi-driver rancher/harvester-cloud-provider
    """.split()  # noqa: SIM905 - a list of names reads better without a quote on each
)

# Whole repositories and `prefix/*` (one segment more), where only that registry's names are meant.
_EXACT = frozenset(
    """
    quay.io/coreos/etcd quay.io/openshift-release-dev/ocp-v4.0-art-dev
    quay.io/openshift-release-dev/ocp-release docker.io/kubernetesui/dashboard
    docker.io/kubernetesui/metrics-scraper docker.io/digitalocean/do-csi-plugin
    docker.io/digitalocean/digitalocean-cloud-controller-manager
    docker.io/hetznercloud/hcloud-csi-driver
    docker.io/hetznercloud/hcloud-cloud-controller-manager docker.io/nutanix/ntnx-csi
    ghcr.io/siderolabs/flannel ghcr.io/siderolabs/install-cni
    mcr.microsoft.com/azuremonitor/containerinsights/ciprod
    mcr.microsoft.com/oss/open-policy-agent/gatekeeper mcr.microsoft.com/oss/cilium/cilium
    mcr.microsoft.com/oss/azure/secrets-store/provider-azure
    mcr.microsoft.com/aks/msi/addon-token-adapter
    """.split()  # noqa: SIM905 - a list of names reads better without a quote on each
)
_BELOW = (
    "quay.io/k0sproject/",
    "docker.io/kindest/",
    "docker.io/rancher/hardened-",
    "docker.io/rancher/klipper-",
    "docker.io/rancher/mirrored-",
    "docker.io/rancher/rke2-",
    "gke.gcr.io/",
    "mcr.microsoft.com/aks/",
    "mcr.microsoft.com/azure-policy/",
    "mcr.microsoft.com/containernetworking/",
    "mcr.microsoft.com/oss/kubernetes/",
    "mcr.microsoft.com/oss/v2/kubernetes/",
    "mcr.microsoft.com/oss/kubernetes-csi/",
    "mcr.microsoft.com/oss/v2/kubernetes-csi/",
    "public.ecr.aws/csi-components/",
)
# Last segments that mean system images in a mirror, that is anywhere but on Docker Hub, where
# anybody may use them: kubeadm's, and the prefixes of Rancher's.
_MIRRORED = re.compile(r"etcd|coredns|(mirrored|hardened|klipper|rke2)-.+")


def is_sandbox_name(name: Reference) -> bool:
    """Whether a name is one that sandbox images are known by, under any registry."""
    return _PAUSE.fullmatch(name.repository.rpartition("/")[2]) is not None


def is_kubernetes_own(name: Reference) -> bool:
    """Whether a name is in a registry of the Kubernetes project, so that it means what it says."""
    return name.repository.startswith(_OWN)


@functools.lru_cache(maxsize=4096)
def _is_system(repository: str, large: bool) -> bool:
    if repository in _EXACT or repository.startswith(_BELOW):
        return True
    parts = repository.split("/")[1:]  # under any host
    if large and not repository.startswith(_OWN):
        return False
    if parts[-2:-1] == ["k0sproject"]:
        return True
    if not repository.startswith("docker.io/") and _MIRRORED.fullmatch(parts[-1]):
        return True
    return any("/".join(parts[-n:]) in _ANYWHERE for n in (1, 2) if len(parts) >= n)


def system_repository(name: Reference, *, large: bool = False) -> str | None:
    """Returns the repository whose current version is to be kept; None: not a Kubernetes system
    image. `large`: the image is larger than a system image under any registry can be (`LARGEST`).
    """
    return name.repository if _is_system(name.repository, large) else None

"""Kubernetes' own images, by name, wherever they are mirrored.

Two tiers. Sandbox (pause) images are always kept: no list of containers shows them, and without one
no pod can start. The others are kept in their current version only: a list that kept every version
would fill the disk with one upgrade after the other (KEP-4210's own motivation).

Names were gathered from the sources of kubeadm, kubespray, KubeOne, k3s, RKE2, k0s, Talos and
AgentBaker (AKS), from node listings of EKS and GKE, and from a metrics vendor's pause filter.
`library/*` images (nginx, haproxy as node proxies) are left out: they are anybody's.
"""

from __future__ import annotations

import functools
import re

from .reference import Reference

# A last path segment that means a sandbox image under any host and path.
_PAUSE = re.compile(
    r"pause(-(amd64|arm|arm64|ppc64le|s390x|win|windows)[\w.-]*)?"
    r"|pause-win\w*|mirrored-pause|amazon-ecs-pause|origin-pod|pod-infrastructure"
)

# repository suffixes, anchored at a path boundary: any registry, any mirror prefix.
_ANYWHERE = frozenset(
    """
    kube-apiserver kube-controller-manager kube-scheduler kube-proxy kube-proxy-amd64
    coredns/coredns kubernetes/coredns google_containers/coredns google_containers/etcd
    dns/k8s-dns-node-cache k8s-dns-node-cache metrics-server/metrics-server
    cpa/cluster-proportional-autoscaler autoscaling/cluster-autoscaler kube-vip/kube-vip
    amazon-k8s-cni amazon-k8s-cni-init eks/coredns eks/aws-efa-k8s-device-plugin
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
    metallb/controller
    """.split()  # noqa: SIM905 - a list of names reads better without a quote on each
)

# Whole repositories and `prefix/*` (one segment more), where only that registry's names are meant.
_EXACT = frozenset(
    """
    registry.k8s.io/etcd registry.k8s.io/coredns k8s.gcr.io/etcd k8s.gcr.io/coredns
    quay.io/coreos/etcd quay.io/openshift-release-dev/ocp-v4.0-art-dev
    quay.io/openshift-release-dev/ocp-release docker.io/kubernetesui/dashboard
    docker.io/kubernetesui/metrics-scraper docker.io/digitalocean/do-csi-plugin
    docker.io/digitalocean/digitalocean-cloud-controller-manager
    docker.io/hetznercloud/hcloud-csi-driver
    docker.io/hetznercloud/hcloud-cloud-controller-manager docker.io/nutanix/ntnx-csi
    ghcr.io/siderolabs/flannel ghcr.io/siderolabs/install-cni docker.io/rancher/coredns-coredns
    docker.io/rancher/klipper-helm docker.io/rancher/klipper-lb docker.io/rancher/library-busybox
    docker.io/rancher/library-traefik docker.io/rancher/local-path-provisioner
    docker.io/rancher/metrics-server docker.io/rancher/rke2-runtime
    docker.io/rancher/rke2-cloud-provider docker.io/rancher/nginx-ingress-controller
    docker.io/rancher/kube-webhook-certgen docker.io/rancher/harvester-csi-driver
    docker.io/rancher/harvester-cloud-provider
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
    "docker.io/rancher/mirrored-",
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


def is_sandbox_name(name: Reference) -> bool:
    """Whether a name is one that sandbox images are known by, under any registry."""
    return _PAUSE.fullmatch(name.repository.rpartition("/")[2]) is not None


@functools.lru_cache(maxsize=4096)
def _is_system(repository: str) -> bool:
    if repository in _EXACT or repository.startswith(_BELOW):
        return True
    parts = repository.split("/")[1:]  # the host is any
    return any("/".join(parts[-n:]) in _ANYWHERE for n in (1, 2) if len(parts) >= n)


def system_repository(name: Reference) -> str | None:
    """The repository whose current version is to be kept; None: no Kubernetes system image."""
    return name.repository if _is_system(name.repository) else None

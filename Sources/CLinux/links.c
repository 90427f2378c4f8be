#define _GNU_SOURCE
#include "links.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { child_stack_bytes = 16 * 1024, request_bytes = 512, peer_name_bytes = IFNAMSIZ };

static const char peer_name[peer_name_bytes] = "eth0";

struct request {
    struct nlmsghdr header;
    char rest[request_bytes];
};

// MARK: a request

/// Begins a request with the fixed part of its kind.
static void begin(struct request *request, uint16_t type, uint16_t flags, const void *body, size_t count) {
    memset(request, 0, sizeof *request);
    request->header.nlmsg_type = type;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request->header.nlmsg_len = NLMSG_LENGTH(count);
    memcpy(NLMSG_DATA(&request->header), body, count);
}

/// Our requests are far smaller than the buffer, whatever the names in them are.
static void *extend(struct request *request, size_t count) {
    char *place = (char *)request + NLMSG_ALIGN(request->header.nlmsg_len);
    request->header.nlmsg_len = (uint32_t)(place - (char *)request) + (uint32_t)NLMSG_ALIGN(count);
    return place;
}

static void add(struct request *request, uint16_t type, const void *value, size_t count) {
    struct rtattr *attribute = extend(request, RTA_LENGTH(count));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(count);
    if (count > 0) memcpy(RTA_DATA(attribute), value, count);
}

/// What is added until the matching `end_nest` is within this attribute.
static struct rtattr *begin_nest(struct request *request, uint16_t type) {
    struct rtattr *nest = extend(request, RTA_LENGTH(0));
    nest->rta_type = type;
    return nest;
}

static void end_nest(struct request *request, struct rtattr *nest) {
    nest->rta_len = (uint16_t)((char *)request + request->header.nlmsg_len - (char *)nest);
}

/// The kernel answers within the call; it never waits for anybody else.
static int perform(int kernel, struct request *request) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (sendto(kernel, request, request->header.nlmsg_len, 0, (struct sockaddr *)&address, sizeof address) < 0) return -errno;
    char answer[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
    ssize_t length = recv(kernel, answer, sizeof answer, MSG_DONTWAIT);
    if (length < 0) return -errno;
    const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
    if (!NLMSG_OK(header, (size_t)length) || header->nlmsg_type != NLMSG_ERROR) return -EBADMSG;
    const struct nlmsgerr *result = NLMSG_DATA(header);
    return result->error;
}

// MARK: what is asked for

static int make_pair(int kernel, const struct fst_link *link) {
    struct ifinfomsg none = {.ifi_family = AF_UNSPEC};
    struct request request;
    begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &none, sizeof none);
    add(&request, IFLA_IFNAME, link->name, strlen(link->name) + 1);
    struct rtattr *information = begin_nest(&request, IFLA_LINKINFO);
    add(&request, IFLA_INFO_KIND, "veth", sizeof "veth");
    struct rtattr *data = begin_nest(&request, IFLA_INFO_DATA);
    struct rtattr *peer = begin_nest(&request, VETH_INFO_PEER);
    memcpy(extend(&request, sizeof none), &none, sizeof none);
    add(&request, IFLA_IFNAME, peer_name, strlen(peer_name) + 1);
    add(&request, IFLA_NET_NS_FD, &link->network, sizeof link->network);
    end_nest(&request, peer);
    end_nest(&request, data);
    end_nest(&request, information);
    return perform(kernel, &request);
}

static int forgo_ipv6_address(int kernel, int index) {
    struct ifinfomsg which = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
    struct request request;
    begin(&request, RTM_NEWLINK, 0, &which, sizeof which);
    struct rtattr *families = begin_nest(&request, IFLA_AF_SPEC);
    struct rtattr *family = begin_nest(&request, AF_INET6);
    add(&request, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof mode);
    end_nest(&request, family);
    end_nest(&request, families);
    return perform(kernel, &request);
}

static int switch_on(int kernel, int index) {
    struct ifinfomsg which = {.ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct request request;
    begin(&request, RTM_NEWLINK, 0, &which, sizeof which);
    return perform(kernel, &request);
}

static int give_address(int kernel, int index, uint32_t address, uint8_t prefix) {
    struct ifaddrmsg which = {.ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (uint32_t)index};
    struct request request;
    begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &which, sizeof which);
    add(&request, IFA_LOCAL, &address, sizeof address);
    add(&request, IFA_ADDRESS, &address, sizeof address);
    return perform(kernel, &request);
}

static int send_everything_to(int kernel, int index, uint32_t gateway) {
    struct rtmsg everything = {
        .rtm_family = AF_INET,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_BOOT,
        .rtm_scope = RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_UNICAST,
    };
    uint32_t way = (uint32_t)index;
    struct request request;
    begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &everything, sizeof everything);
    add(&request, RTA_GATEWAY, &gateway, sizeof gateway);
    add(&request, RTA_OIF, &way, sizeof way);
    return perform(kernel, &request);
}

// MARK: namespaces

static int open_kernel(void) {
    int kernel = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return kernel < 0 ? -errno : kernel;
}

struct visit {
    int network;
    /// The socket, or a negative errno.
    int kernel;
};

static int run_visit(void *argument) {
    struct visit *visit = argument;
    visit->kernel = setns(visit->network, CLONE_NEWNET) < 0 ? -errno : open_kernel();
    _exit(0);
}

/// A socket belongs to the network namespace in which it was made. A process that shares our memory and descriptors goes there and makes
/// it: a thread of ours that went and could not come back would do the work of others in the wrong place.
static int open_kernel_of(int network) {
    struct visit visit = {.network = network, .kernel = -ECHILD};
    char stack[child_stack_bytes] __attribute__((aligned(16)));
    // Handlers of ours must not run in the child.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    // No signal tells of the child's end, so no other wait of this process sees it.
    int flags = CLONE_VM | CLONE_VFORK | CLONE_FILES;
    pid_t child = clone(run_visit, stack + child_stack_bytes, flags, &visit);
    if (child < 0) visit.kernel = -errno;
    while (child > 0 && waitpid(child, NULL, __WALL) < 0 && errno == EINTR) continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return visit.kernel;
}

/// The number of an interface in the namespace of a socket.
static int find_interface(int kernel, const char *name) {
    struct ifreq request = {0};
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    return ioctl(kernel, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

static int set_up_own_end(int kernel, const struct fst_link *link) {
    int index = find_interface(kernel, link->name);
    if (index < 0) return index;
    int status = link->without_ipv6_address ? forgo_ipv6_address(kernel, index) : 0;
    if (status == 0) status = give_address(kernel, index, link->host_address, link->prefix);
    return status == 0 ? switch_on(kernel, index) : status;
}

static int set_up_other_end(int kernel, const struct fst_link *link) {
    int loopback = find_interface(kernel, "lo");
    int index = find_interface(kernel, peer_name);
    if (loopback < 0) return loopback;
    if (index < 0) return index;
    int status = switch_on(kernel, loopback);
    if (status == 0) status = give_address(kernel, index, link->container_address, link->prefix);
    if (status == 0) status = switch_on(kernel, index);
    return status == 0 ? send_everything_to(kernel, index, link->host_address) : status;
}

int fst_link_create(const struct fst_link *link) {
    if (strlen(link->name) >= IFNAMSIZ) return -EINVAL;
    int kernel = open_kernel();
    if (kernel < 0) return kernel;
    int status = make_pair(kernel, link);
    if (status == 0) status = set_up_own_end(kernel, link);
    close(kernel);
    if (status < 0) return status;
    int other = open_kernel_of(link->network);
    if (other < 0) return other;
    status = set_up_other_end(other, link);
    close(other);
    return status;
}

int fst_link_remove(const char *name) {
    if (strlen(name) >= IFNAMSIZ) return -EINVAL;
    int kernel = open_kernel();
    if (kernel < 0) return kernel;
    struct ifinfomsg none = {.ifi_family = AF_UNSPEC};
    struct request request;
    begin(&request, RTM_DELLINK, 0, &none, sizeof none);
    add(&request, IFLA_IFNAME, name, strlen(name) + 1);
    int status = perform(kernel, &request);
    close(kernel);
    return status;
}

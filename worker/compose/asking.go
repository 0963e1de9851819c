package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs/pkg/errhttp"
	"github.com/moby/moby/api/types/common"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// The client does not take every answer: its types want addresses where an engine takes, and
// repeats, any text. Engine 20.10 does so with a container's MAC address, DNS servers and ports, and
// it has fd00::1/64 for the gateway of a network to which it gave the addresses. With the client's own
// ContainerList and NetworkList, one such container or network, whose ever it is, would be in the way
// of all services of the host. So what follows asks without it, and skips what pgo does not read.

// connection is a client that also asks by itself.
type connection struct {
	*client.Client
	asking *http.Client
	agreed atomic.Bool // on the version of the API
}

func connectionOf(c *client.Client) *connection {
	dial := c.Dialer()
	return &connection{Client: c, asking: &http.Client{
		Transport: &http.Transport{
			DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			MaxIdleConns:    6, // as the client has
			IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: client.CheckRedirect,
	}}
}

// unread is a value in an answer that nobody reads.
type unread struct{}

// UnmarshalJSON accepts everything.
func (*unread) UnmarshalJSON([]byte) error { return nil }

// containers lists containers, without their networks.
func (c *connection) containers(ctx context.Context, all bool, filter client.Filters) ([]container.Summary, error) {
	query := filtered(filter)
	if all {
		query.Set("all", "1")
	}
	var said []struct {
		container.Summary
		NetworkSettings unread
	}
	if err := c.get(ctx, "/containers/json", query, &said); err != nil {
		return nil, fmt.Errorf("cannot list the containers: %w", err)
	}
	var found []container.Summary
	for _, s := range said {
		found = append(found, s.Summary)
	}
	return found, nil
}

// container inspects a container, without its addresses and ports. Of its networks there are the
// names alone.
func (c *connection) container(ctx context.Context, id string) (container.InspectResponse, error) {
	var said struct {
		container.InspectResponse
		HostConfig struct {
			container.HostConfig
			DNS          unread `json:"Dns"`
			PortBindings unread
		}
		Config struct {
			container.Config
			ExposedPorts unread
		}
		NetworkSettings struct{ Networks map[string]unread }
	}
	if err := c.get(ctx, "/containers/"+url.PathEscape(id)+"/json", nil, &said); err != nil {
		return container.InspectResponse{}, err
	}
	found := said.InspectResponse
	found.HostConfig, found.Config = &said.HostConfig.HostConfig, &said.Config.Config
	found.NetworkSettings = &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{}}
	for name := range said.NetworkSettings.Networks {
		found.NetworkSettings.Networks[name] = nil
	}
	return found, nil
}

// networkSaid is what an engine says about a network, as far as pgo reads it.
type networkSaid struct {
	ID           string `json:"Id"`
	Name, Driver string
	Created      time.Time
	EnableIPv6   bool
	Labels       map[string]string
	IPAM         struct{ Config []struct{ Subnet string } }
	Containers   map[string]struct{ Name string } // only of a single network
}

// subnets returns those of the network's addresses that are addresses.
func (n networkSaid) subnets() (all []network.IPAMConfig) {
	for _, config := range n.IPAM.Config {
		if subnet, err := netip.ParsePrefix(config.Subnet); err == nil {
			all = append(all, network.IPAMConfig{Subnet: subnet})
		}
	}
	return all
}

// networks lists networks.
func (c *connection) networks(ctx context.Context, filter client.Filters) (found []networkSaid, err error) {
	if err := c.get(ctx, "/networks", filtered(filter), &found); err != nil {
		return nil, fmt.Errorf("cannot list the networks: %w", err)
	}
	return found, nil
}

// network inspects a network.
func (c *connection) network(ctx context.Context, name string) (found networkSaid, err error) {
	err = c.get(ctx, "/networks/"+url.PathEscape(name), nil, &found)
	return found, err
}

func filtered(filter client.Filters) url.Values {
	query := url.Values{}
	if len(filter) > 0 {
		text, _ := json.Marshal(filter) // of texts
		query.Set("filters", string(text))
	}
	return query
}

// refusal is an answer that says why not. It unwraps to the kind of error that the client has for it.
type refusal struct {
	text string
	kind error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// get asks the engine for something, in the version that the client has agreed on.
func (c *connection) get(ctx context.Context, path string, query url.Values, into any) error {
	if !c.agreed.Load() {
		if _, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
			return err
		}
		c.agreed.Store(true)
	}
	address := "http://" + client.DummyHost + "/v" + c.ClientVersion() + path + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := c.asking.Do(request)
	if failed := new(url.Error); errors.As(err, &failed) {
		return failed.Err // without the address, which says nothing
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
		var response common.ErrorResponse
		if json.Unmarshal(said, &response) == nil && response.Message != "" {
			said = []byte(response.Message)
		}
		return &refusal{daemonSays + ": " + strings.TrimSpace(string(said)), errhttp.ToNative(answer.StatusCode)}
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

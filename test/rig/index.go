package rig

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
)

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int       `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

// Index makes an image of two platforms out of one that Push has put into the registry: that of this
// machine, and one that does not run here and has a text in it. It returns the name to pull it by,
// and the digests of the whole and of this machine's part.
func (g *Registry) Index(of, as, text string) (name, whole, own string) {
	g.rig.t.Helper()
	name = g.Address + "/" + g.rig.Prefix + "/" + as
	g.rig.remember(kindImage, name)
	repository, tag, _ := strings.Cut(strings.TrimPrefix(name, g.Address+"/"), ":")
	from, version, _ := strings.Cut(strings.TrimPrefix(of, g.Address+"/"), ":")

	kind, manifest := g.manifest(from, version)
	var here struct {
		Manifests []descriptor // an engine may push what it has built together with attestations
		Config    descriptor
		Layers    []descriptor
	}
	if err := json.Unmarshal(manifest, &here); err == nil && len(here.Manifests) > 0 {
		kind, manifest = g.manifest(from, here.Manifests[0].Digest)
	}
	if err := json.Unmarshal(manifest, &here); err != nil || here.Config.Digest == "" {
		g.rig.t.Fatalf("%s is not an image of one platform: %v, %s", of, err, manifest)
	}
	for _, part := range append(here.Layers, here.Config) {
		g.send(http.MethodPost, fmt.Sprintf("%s/blobs/uploads/?mount=%s&from=%s", repository, part.Digest, from), "", nil)
	}
	this := g.put(repository, "", kind, manifest)
	this.Platform = &platform{"linux", runtime.GOARCH}

	there := platform{"linux", "s390x"}
	if runtime.GOARCH == there.Architecture {
		there.Architecture = "amd64"
	}
	config := g.json(map[string]any{"os": there.OS, "architecture": there.Architecture, "config": map[string]any{"Env": []string{"TEXT=" + text}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{}}})
	upload := g.send(http.MethodPost, repository+"/blobs/uploads/", "", nil)
	query := "?"
	if strings.Contains(upload, "?") {
		query = "&"
	}
	g.send(http.MethodPut, upload+query+"digest="+digest(config), "application/octet-stream", config)
	other := g.put(repository, "", ociManifest, g.json(map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "layers": []descriptor{},
		"config": descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: digest(config), Size: len(config)}}))
	other.Platform = &there

	index := g.json(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []descriptor{other, this}})
	return name, g.put(repository, tag, ociIndex, index).Digest, this.Digest
}

// manifest returns a manifest of the registry, and what kind it is of.
func (g *Registry) manifest(repository, tag string) (kind string, content []byte) {
	g.rig.t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+g.Address+"/v2/"+repository+"/manifests/"+tag, nil)
	if err != nil {
		g.rig.t.Fatal(err)
	}
	request.Header.Set("Accept", ociIndex+", "+ociManifest+", "+dockerManifest)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		g.rig.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err = io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		g.rig.t.Fatalf("the registry does not return the manifest of %s:%s: %s, %v", repository, tag, response.Status, err)
	}
	return response.Header.Get("Content-Type"), content
}

// put puts a manifest into the registry, under a tag or under its digest alone.
func (g *Registry) put(repository, tag, kind string, content []byte) descriptor {
	g.rig.t.Helper()
	d := descriptor{MediaType: kind, Digest: digest(content), Size: len(content)}
	if tag == "" {
		tag = d.Digest
	}
	g.send(http.MethodPut, repository+"/manifests/"+tag, kind, content)
	return d
}

// send sends something to the registry, and returns where it is now.
func (g *Registry) send(method, to, kind string, content []byte) (location string) {
	g.rig.t.Helper()
	if !strings.HasPrefix(to, "http://") {
		to = "http://" + g.Address + "/v2/" + to
	}
	request, err := http.NewRequest(method, to, bytes.NewReader(content))
	if err != nil {
		g.rig.t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		g.rig.t.Fatal(err)
	}
	defer response.Body.Close()
	if said, _ := io.ReadAll(response.Body); response.StatusCode/100 != 2 {
		g.rig.t.Fatalf("the registry does not take %s: %s: %s", to, response.Status, said)
	}
	return response.Header.Get("Location")
}

func (g *Registry) json(v any) []byte {
	g.rig.t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		g.rig.t.Fatal(err)
	}
	return content
}

func digest(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

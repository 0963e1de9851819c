package policy

import (
	"encoding/csv"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"pgo/internal/lazyregexp"
)

// images checks the names of what a service builds: a build takes over any local name, even that
// of an image that another service runs.
func (c *checker) images(at place, service map[string]any) {
	build := object(service["build"])
	image := str(service["image"])
	if build == nil {
		if _, ok := components(image); !ok && image != "" && !imageID.MatchString(image) {
			c.refuse(at.key("image"), image, "not a valid image name", "")
		}
		if pinned := c.pinned(image); pinned != "" && pinned != c.Service {
			c.refuse(at.key("image"), image, "only pgo uses this image of the service "+pinned, "")
		}
		return
	}
	if image != "" {
		c.built(at.key("image"), image)
	} else {
		c.built(at.key("build"), c.Service+"-"+at.name) // compose's own choice
	}
	for i, tag := range list(build["tags"]) {
		c.built(at.key("build").key("tags").item(i), str(tag))
	}
}

// imageID is what the engine takes for an image's ID.
var imageID = lazyregexp.New(`^[a-f0-9]{64}$`)

func (c *checker) built(at place, image string) {
	parts, ok := components(image)
	owner := ""
	if i := slices.IndexFunc(parts, func(part string) bool { return c.names(part) != "" }); i >= 0 {
		owner = c.names(parts[i]) // if two parts name services, the first counts
	}
	switch {
	case !ok:
		c.refuse(at, image, "not a valid image name", "")
	case c.pinned(image) != "":
		c.refuse(at, image, "only pgo makes such images, for rollbacks", "")
	case owner == "":
		c.refuse(at, image, "a built image is named after the service, such as "+c.Service+"-web", "image:"+image)
	case owner != c.Service:
		c.refuse(at, image, "images of the service "+owner+" have such names; name it after this service, such as "+c.Service+"-web", "image:"+image)
	}
}

// names returns the service that a part of an image's name belongs to: the part is the service's
// name, alone or followed by a dash, a dot or an underscore and more. If several services match,
// it is the one with the longest name.
func (c *checker) names(part string) string {
	owner := ""
	for _, service := range append(slices.Clone(c.Others), c.Service) {
		rest, found := strings.CutPrefix(part, service)
		if found && (rest == "" || strings.ContainsAny(rest[:1], "-._")) && len(service) > len(owner) {
			owner = service
		}
	}
	return owner
}

// pinned returns the service whose deploys pgo keeps under an image's name,
// pgo/<service>:<commit>-<compose service>.
func (c *checker) pinned(image string) string {
	parts, _ := components(image)
	if len(parts) == 2 && parts[0] == "pgo" && (parts[1] == c.Service || slices.Contains(c.Others, parts[1])) {
		return parts[1]
	}
	return ""
}

// components returns the parts of an image's path as the engine reads its name,
// without the registry, the tag and the digest.
func components(image string) (parts []string, ok bool) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, false
	}
	path := reference.Path(named)
	if reference.Domain(named) == "docker.io" {
		path = strings.TrimPrefix(path, "library/") // added where it was not written
	}
	return strings.Split(path, "/"), true
}

// build is what the engine's builder gets. Compose passes it to another program as text, which
// expands whatever looks like a template.
var build = on("bind: build.context:", "context and dockerfile in the repository; nothing that the builder would expand, such as `${…}`", func(c *checker, at place, build map[string]any) {
	context, dockerfile := str(build["context"]), str(build["dockerfile"])
	if filepath.IsAbs(context) {
		c.read(at.key("context"), context)
	} else if context != "" {
		c.refuse(at.key("context"), context, "only a directory in the repository", "build.context:"+context)
	}
	if dockerfile != "" && !filepath.IsAbs(dockerfile) {
		dockerfile = filepath.Join(context, dockerfile)
	}
	if filepath.IsAbs(dockerfile) {
		c.read(at.key("dockerfile"), dockerfile)
	}
	for key, v := range build {
		if !slices.Contains(withoutTemplate, key) && hasTemplate(v) || slices.Contains(quoted, key) && hasUnquoted(v) {
			c.refuse(at.key(key), v, "what is in ${} or %{} would be expanded after this check", "")
		}
	}
	for i, ref := range list(build["secrets"]) {
		c.buildSecret(at.key("secrets").item(i), object(ref))
	}
})

// quoted are the keys of build in whose values compose quotes ${, and nothing else.
var quoted = []string{"args", "dockerfile_inline"}

// withoutTemplate are those, and the keys whose own rules let no template pass.
var withoutTemplate = append([]string{"secrets", "tags"}, quoted...)

// hasUnquoted reports whether the builder would expand something that compose has not quoted.
func hasUnquoted(v any) bool {
	for name := range object(v) {
		if hasTemplate(name) || hasUnquoted(object(v)[name]) {
			return true
		}
	}
	return strings.Contains(str(v), "%{")
}

func hasTemplate(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "${") || strings.Contains(v, "%{")
	case []any:
		return slices.ContainsFunc(v, hasTemplate)
	case map[string]any:
		for key, value := range v {
			if hasTemplate(key) || hasTemplate(value) {
				return true
			}
		}
	}
	return false
}

// buildSecret checks what compose writes as a comma-separated list of name=value:
// id=…,type=file,src=….
func (c *checker) buildSecret(at place, ref map[string]any) {
	secret := object(object(c.model["secrets"])[str(ref["source"])])
	for _, v := range []any{ref["source"], ref["target"], secret["file"], secret["environment"]} {
		if text := str(v); strings.ContainsAny(text, ",\"\n\r") || hasTemplate(text) {
			c.refuse(at, text, "no comma, no quotation mark and no template in a build's secret", "")
		}
	}
	if file := str(secret["file"]); file != "" {
		c.read(at.key("source"), file)
	}
}

// additionalContext is a named additional context of a build.
var additionalContext = rule{
	allowed: "a directory in the repository, docker-image:// or service:",
	lift:    "bind: build.additional_contexts:",
	check: func(c *checker, at place, v any) {
		source := str(v)
		switch {
		case filepath.IsAbs(source):
			c.read(at, source)
		case !strings.HasPrefix(source, "docker-image://") && !strings.HasPrefix(source, "service:"):
			c.refuse(at, v, "only a directory in the repository, docker-image:// or service:", "build.additional_contexts:"+source)
		}
	},
}

// cache is an entry of cache_from or cache_to: an image, or attributes.
func cache(lift string) rule {
	const allowed = "an image, type=registry, type=inline, or type=local with an absolute path in the repository"
	return rule{allowed: allowed, lift: "bind: nested-bind " + lift, check: func(c *checker, at place, v any) {
		entry := str(v)
		kind, dirs, ok := cacheAttributes(entry)
		if !ok || !slices.Contains([]string{"registry", "inline", "local"}, kind) {
			c.refuse(at, v, only(allowed), lift+entry)
			return
		}
		for _, dir := range dirs {
			c.mount(at, dir, false)
			c.readBoth(at, dir)
		}
	}}
}

// cacheAttributes reads an entry as the builder does: of an attribute given twice it takes the
// last, so every one counts.
func cacheAttributes(entry string) (kind string, dirs []string, ok bool) {
	fields, err := csv.NewReader(strings.NewReader(entry)).Read()
	if err != nil {
		return "", nil, false
	}
	if len(fields) == 1 && !strings.Contains(fields[0], "=") {
		return "registry", nil, true
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "type":
			kind, ok = value, kind == "" || kind == value
		case "src", "dest":
			dirs = append(dirs, value)
		}
	}
	return kind, dirs, ok && (kind == "local") == (len(dirs) > 0)
}

// A small client on oras-go, the library of oras, helm and notation. Credentials come from the
// environment: ORAS_USER and ORAS_PASSWORD, or ORAS_REFRESH. With ORAS_REFERRERS=tag, referrers are
// kept in a tag as with registries that have no such API. Plain HTTP only.
//
//	oras-go push REPOSITORY:TAG ARTIFACT-TYPE FILE...    prints the digest
//	oras-go attach REPOSITORY:TAG ARTIFACT-TYPE FILE...  the same, about what the tag names
//	oras-go discover REPOSITORY:TAG [ARTIFACT-TYPE]      prints "ARTIFACT-TYPE DIGEST" lines
//	oras-go pull REPOSITORY:TAG DIRECTORY                as an OCI layout
//	oras-go send DIRECTORY TAG REPOSITORY:TAG            an OCI layout
//	oras-go copy REPOSITORY:TAG REPOSITORY:TAG           with its referrers, mounting blobs
//	oras-go tags REPOSITORY
//	oras-go catalog HOST
//	oras-go delete REPOSITORY@DIGEST
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

func client() *auth.Client {
	return &auth.Client{
		Client: retry.DefaultClient,
		Cache:  auth.NewCache(),
		Credential: func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{
				Username:     os.Getenv("ORAS_USER"),
				Password:     os.Getenv("ORAS_PASSWORD"),
				RefreshToken: os.Getenv("ORAS_REFRESH"),
			}, nil
		},
		// As oras does when it asks for OAuth 2.0 with a password.
		ForceAttemptOAuth2: os.Getenv("ORAS_OAUTH2") != "",
	}
}

func repository(name string) (*remote.Repository, error) {
	r, err := remote.NewRepository(name)
	if err != nil {
		return nil, err
	}
	r.PlainHTTP = true
	r.Client = client()
	if os.Getenv("ORAS_REFERRERS") == "tag" {
		return r, r.SetReferrersCapability(false)
	}
	return r, nil
}

func push(ctx context.Context, r *remote.Repository, kind string, files []string,
	subject *v1.Descriptor) (v1.Descriptor, error) {
	var layers []v1.Descriptor
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return v1.Descriptor{}, err
		}
		layer, err := oras.PushBytes(ctx, r, "application/octet-stream", data)
		if err != nil {
			return v1.Descriptor{}, err
		}
		layer.Annotations = map[string]string{v1.AnnotationTitle: filepath.Base(file)}
		layers = append(layers, layer)
	}
	return oras.PackManifest(ctx, r, oras.PackManifestVersion1_1, kind,
		oras.PackManifestOptions{Subject: subject, Layers: layers})
}

func upload(ctx context.Context, attach bool, name, kind string, files []string) error {
	r, err := repository(name)
	if err != nil {
		return err
	}
	var subject *v1.Descriptor
	if attach {
		found, err := r.Resolve(ctx, r.Reference.Reference)
		if err != nil {
			return err
		}
		subject = &found
	}
	manifest, err := push(ctx, r, kind, files, subject)
	if err != nil {
		return err
	}
	fmt.Println(manifest.Digest)
	if attach {
		return nil
	}
	return r.Tag(ctx, manifest, r.Reference.Reference)
}

func discover(ctx context.Context, name, kind string) error {
	r, err := repository(name)
	if err != nil {
		return err
	}
	subject, err := r.Resolve(ctx, r.Reference.Reference)
	if err != nil {
		return err
	}
	return r.Referrers(ctx, subject, kind, func(found []v1.Descriptor) error {
		for _, d := range found {
			fmt.Println(d.ArtifactType, d.Digest)
		}
		return nil
	})
}

func transfer(ctx context.Context, source oras.ReadOnlyTarget, from string, target oras.Target,
	to string) error {
	_, err := oras.Copy(ctx, source, from, target, to, oras.DefaultCopyOptions)
	return err
}

func layout(ctx context.Context, send bool, directory, tag, name string) error {
	r, err := repository(name)
	if err != nil {
		return err
	}
	store, err := oci.New(directory)
	if err != nil {
		return err
	}
	if send {
		return transfer(ctx, store, tag, r, r.Reference.Reference)
	}
	return transfer(ctx, r, r.Reference.Reference, store, tag)
}

func extendedCopy(ctx context.Context, from, to string) error {
	source, err := repository(from)
	if err != nil {
		return err
	}
	target, err := repository(to)
	if err != nil {
		return err
	}
	options := oras.DefaultExtendedCopyOptions
	options.MountFrom = func(context.Context, v1.Descriptor) ([]string, error) {
		return []string{source.Reference.Repository}, nil
	}
	_, err = oras.ExtendedCopy(ctx, source, source.Reference.Reference, target,
		target.Reference.Reference, options)
	return err
}

func printAll(found []string) error {
	for _, one := range found {
		fmt.Println(one)
	}
	return nil
}

func tags(ctx context.Context, name string) error {
	r, err := repository(name)
	if err != nil {
		return err
	}
	return r.Tags(ctx, "", printAll)
}

func catalog(ctx context.Context, host string) error {
	r, err := remote.NewRegistry(host)
	if err != nil {
		return err
	}
	r.PlainHTTP = true
	r.Client = client()
	return r.Repositories(ctx, "", printAll)
}

func remove(ctx context.Context, name string) error {
	r, err := repository(name)
	if err != nil {
		return err
	}
	found, err := r.Resolve(ctx, r.Reference.Reference)
	if err != nil {
		return err
	}
	return content.Deleter(r).Delete(ctx, found)
}

func run(ctx context.Context, command string, args []string) error {
	switch {
	case command == "push" && len(args) > 2:
		return upload(ctx, false, args[0], args[1], args[2:])
	case command == "attach" && len(args) > 2:
		return upload(ctx, true, args[0], args[1], args[2:])
	case command == "discover" && len(args) == 1:
		return discover(ctx, args[0], "")
	case command == "discover" && len(args) == 2:
		return discover(ctx, args[0], args[1])
	case command == "pull" && len(args) == 2:
		return layout(ctx, false, args[1], "latest", args[0])
	case command == "send" && len(args) == 3:
		return layout(ctx, true, args[0], args[1], args[2])
	case command == "copy" && len(args) == 2:
		return extendedCopy(ctx, args[0], args[1])
	case command == "tags" && len(args) == 1:
		return tags(ctx, args[0])
	case command == "catalog" && len(args) == 1:
		return catalog(ctx, args[0])
	case command == "delete" && len(args) == 1:
		return remove(ctx, args[0])
	}
	return fmt.Errorf("no such command: %s %q", command, args)
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: oras-go COMMAND ...")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

"""The objects that a resource is made of, one builder each: data in, manifest out.

`children.py` puts them together. No manifest holds a time or a random value: the same resource always gives the same manifests, so
a difference from what is there is somebody's edit. Fields that Kubernetes fills in by itself are left out, but for those whose
default we would not want to depend on.

Not here: what pods are made of over versions of the operator (`core/template.py`), comparing (`core/drift.py`), and any request.
"""

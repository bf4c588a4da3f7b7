"""Generation parameters in picture files: one module a dialect, which reads it and, where ArtFlow writes it, writes it.

`a1111` is the web UI's ``parameters`` text, `comfyui` its graphs, `artflow` our JSON; `invokeai`, `fooocus`,
`swarmui`, `novelai`, `sdnext` and `drawthings` are those programs' own. `texts` finds the texts of files,
`read` asks the dialects; `write` puts a recipe into a PNG; `values` and `loras` bring all to ArtFlow's names
and types.
"""

from artflow.metadata.read import READABLE, carried_recipe, read_metadata
from artflow.metadata.values import Metadata, fitting, shown
from artflow.metadata.write import encode_png

__all__ = ["READABLE", "Metadata", "carried_recipe", "encode_png", "fitting", "read_metadata", "shown"]

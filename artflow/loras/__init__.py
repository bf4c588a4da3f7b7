"""The files of LoRAs: which are offered, how they are downloaded, and what lies in the folder.

Nothing of a file but its header is read here; weights are loaded by ``models``.
"""

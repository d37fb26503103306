"""A first YAML for a folder of pictures: what `lookalike init` writes.

    folder -> its pictures and a table of metadata -> the model that is at hand -> YAML

None of this is needed once there is a YAML file; nothing else imports it.
"""

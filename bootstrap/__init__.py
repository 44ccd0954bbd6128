"""The door of a network: a node that others can find, and how to deploy one.

Installed, this folder is `dhtchat.bootstrap`. Import siblings relatively and the product as `dhtchat...`; from inside
`dhtchat`, reach it with `dhtchat.companions.load("bootstrap")`.
"""

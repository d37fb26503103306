"""What a user would write: FastAPI, open_clip and qdrant-client.

    python search_server.py --port PORT --documents N --weights FILE

POST /search {"text": …} or {"image": base64} answers the ten nearest of N random documents.
"""

import argparse
import base64
import io

import numpy as np
import open_clip
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--documents", type=int, default=10_000)
parser.add_argument("--weights", required=True)
given = parser.parse_args()

model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=given.weights)
model.eval()
tokenizer = open_clip.get_tokenizer("ViT-B-32")
client = QdrantClient(":memory:")
params = models.VectorParams(size=512, distance=models.Distance.COSINE)
client.create_collection("bench", params)
vectors = np.random.default_rng(1).standard_normal((given.documents, 512), dtype=np.float32)
payload = [{"title": f"Document {n}", "price": n % 100} for n in range(given.documents)]
client.upload_collection("bench", vectors, payload=payload)
app = FastAPI()


class Query(BaseModel):
    text: str | None = None
    image: str | None = None
    top_k: int = 10


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/search")
def search(query: Query):
    with torch.no_grad():
        if query.image:
            image = Image.open(io.BytesIO(base64.b64decode(query.image))).convert("RGB")
            vector = model.encode_image(preprocess(image).unsqueeze(0), normalize=True)
        else:
            vector = model.encode_text(tokenizer([query.text]), normalize=True)
    found = client.query_points("bench", vector[0].tolist(), limit=query.top_k)
    return [{"id": p.id, "score": p.score, "payload": p.payload} for p in found.points]


uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning")
